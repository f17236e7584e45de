package figures

import (
	"fmt"
	"html"
	"io"
	"math"
	"strings"
)

// Plot is a chart of lines over two axes.
type Plot struct {
	Title, XLabel, YLabel string
	// LogX and LogY choose logarithmic axes; without LogY the axis begins at 0.
	LogX, LogY bool
	// XBytes labels places as sizes.
	XBytes bool
	Series []Series
}

// Series is one line.
type Series struct {
	Name   string
	Points []Point
}

// Point is a median with its bounds; equal bounds are not drawn.
type Point struct{ X, Y, Lowest, Highest float64 }

// The layout, in SVG's units.
const (
	plotWidth, plotHeight                        = 640, 340
	marginLeft, marginRight, marginTop, marginBt = 70, 150, 34, 46
)

// Colours that the colour-blind can tell apart and that show on white and on black.
var colours = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f"}

// SVG draws the chart. Points that an axis cannot show are left out.
func (p *Plot) SVG(w io.Writer) error {
	x, y := axis{log: p.LogX, from: marginLeft, to: plotWidth - marginRight}, axis{log: p.LogY, from: plotHeight - marginBt, to: marginTop}
	for _, s := range p.Series {
		for _, pt := range s.Points {
			x.include(pt.X)
			y.include(pt.Y)
			y.include(pt.Highest)
		}
	}
	if !p.LogY {
		y.include(0)
	}
	if !x.settle(p.XBytes) || !y.settle(false) {
		return fmt.Errorf("plot %q: no point that could be drawn", p.Title)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", plotWidth, plotHeight)
	text(&b, marginLeft, 18, "start", p.Title, ` font-size="13" font-weight="bold"`)
	text(&b, (marginLeft+plotWidth-marginRight)/2, plotHeight-10, "middle", p.XLabel, "")
	text(&b, 0, 0, "middle", p.YLabel, fmt.Sprintf(` transform="translate(14 %d) rotate(-90)"`, (marginTop+plotHeight-marginBt)/2))
	p.grid(&b, x, y)
	for i, s := range p.Series {
		s.draw(&b, x, y, colours[i%len(colours)], i)
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func text(b *strings.Builder, x, y float64, anchor, s, more string) {
	fmt.Fprintf(b, `<text x="%.0f" y="%.0f" text-anchor="%s"%s>%s</text>`+"\n", x, y, anchor, more, html.EscapeString(s))
}

func (p *Plot) grid(b *strings.Builder, x, y axis) {
	line := func(x1, y1, x2, y2 float64) {
		fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#ddd"/>`+"\n", x1, y1, x2, y2)
	}
	for _, v := range x.ticks {
		at := x.at(v)
		line(at, marginTop, at, plotHeight-marginBt)
		label := short(v)
		if p.XBytes {
			label = Bytes(int(v))
		}
		text(b, at, plotHeight-marginBt+15, "middle", label, "")
	}
	for _, v := range y.ticks {
		at := y.at(v)
		line(marginLeft, at, plotWidth-marginRight, at)
		text(b, marginLeft-6, at+4, "end", short(v), "")
	}
	fmt.Fprintf(b, `<rect x="%d" y="%d" width="%d" height="%d" fill="none" stroke="#888"/>`+"\n", marginLeft, marginTop,
		plotWidth-marginLeft-marginRight, plotHeight-marginTop-marginBt)
}

func (s Series) draw(b *strings.Builder, x, y axis, colour string, nth int) {
	var path []string
	for _, pt := range s.Points {
		if !x.shows(pt.X) || !y.shows(pt.Y) {
			continue
		}
		px, py := x.at(pt.X), y.at(pt.Y)
		path = append(path, fmt.Sprintf("%.1f,%.1f", px, py))
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", px, py, colour)
		if pt.Lowest < pt.Highest && y.shows(pt.Lowest) {
			fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>`+"\n", px, y.at(pt.Lowest), px, y.at(pt.Highest), colour)
		}
	}
	fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="1.5"/>`+"\n", strings.Join(path, " "), colour)
	ly := float64(marginTop + 10 + 16*nth)
	fmt.Fprintf(b, `<rect x="%d" y="%.0f" width="12" height="3" fill="%s"/>`+"\n", plotWidth-marginRight+10, ly-4, colour)
	text(b, plotWidth-marginRight+27, ly, "start", s.Name, "")
}

// axis maps values to places.
type axis struct {
	log      bool
	from, to float64
	lo, hi   float64 // what it shows, once settled
	any      bool
	ticks    []float64
}

func (a *axis) shows(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) && (v > 0 || !a.log) }

func (a *axis) include(v float64) {
	if !a.shows(v) {
		return
	}
	if !a.any {
		a.lo, a.hi, a.any = v, v, true
	}
	a.lo, a.hi = min(a.lo, v), max(a.hi, v)
}

// settle chooses the range and the ticks; powers tells that ticks are powers of two.
func (a *axis) settle(powers bool) bool {
	switch {
	case !a.any:
		return false
	case a.log && powers:
		a.settleLog(2)
	case a.log:
		a.settleLog(10)
	default:
		a.settleLinear()
	}
	return true
}

func (a *axis) settleLog(base float64) {
	lo, hi := math.Floor(math.Log(a.lo)/math.Log(base)+1e-9), math.Ceil(math.Log(a.hi)/math.Log(base)-1e-9)
	hi = max(hi, lo+1)
	step := max(1, math.Ceil((hi-lo)/7))
	for e := lo; e <= hi+1e-9; e += step {
		a.ticks = append(a.ticks, math.Pow(base, e))
		for _, m := range []float64{2, 5} {
			if base == 10 && hi-lo <= 2 && e < hi {
				a.ticks = append(a.ticks, m*math.Pow(base, e))
			}
		}
	}
	a.lo, a.hi = math.Pow(base, lo), math.Pow(base, hi)
}

func (a *axis) settleLinear() {
	if a.lo == a.hi {
		a.hi = a.lo + 1
	}
	rough := (a.hi - a.lo) / 6
	step := math.Pow(10, math.Floor(math.Log10(rough)))
	for _, m := range []float64{1, 2, 5, 10} {
		if m*step >= rough {
			step *= m
			break
		}
	}
	a.lo, a.hi = math.Floor(a.lo/step)*step, math.Ceil(a.hi/step)*step
	for i := range int(math.Round((a.hi-a.lo)/step)) + 1 {
		a.ticks = append(a.ticks, a.lo+float64(i)*step)
	}
}

func (a *axis) at(v float64) float64 {
	share := (v - a.lo) / (a.hi - a.lo)
	if a.log {
		share = math.Log(v/a.lo) / math.Log(a.hi/a.lo)
	}
	return a.from + share*(a.to-a.from)
}

// short is a label of an axis.
func short(v float64) string {
	switch a := math.Abs(v); {
	case a >= 1e6:
		return fmt.Sprintf("%g M", v/1e6)
	case a >= 1e4:
		return fmt.Sprintf("%g k", v/1e3)
	}
	return fmt.Sprintf("%.4g", v)
}
