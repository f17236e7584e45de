package figures

import "slices"

// Spread is what repetitions of one figure yielded.
type Spread struct {
	Median  float64 `json:"median"`
	Lowest  float64 `json:"lowest"`
	Highest float64 `json:"highest"`
}

// SpreadOf sums up one or more values; of an even number the median lies in the middle
// of two.
func SpreadOf(values []float64) Spread {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return Spread{Median: (v[(n-1)/2] + v[n/2]) / 2, Lowest: v[0], Highest: v[n-1]}
}

// Summary is one workload with all its repetitions.
type Summary struct {
	Workload string            `json:"workload"`
	Variant  string            `json:"variant,omitempty"`
	Size     int               `json:"size,omitempty"`
	X        float64           `json:"x,omitempty"`
	Runs     int               `json:"runs"`
	Failed   []string          `json:"failed,omitempty"`
	Metrics  map[string]Spread `json:"metrics"`
}

// Median of a metric, 0 where there is none.
func (s *Summary) Median(metric string) float64 { return s.Metrics[metric].Median }

// Summarize gathers repetitions: results with the same workload, variant, size and x,
// in the order in which they first came.
func Summarize(results []*Result) []*Summary {
	type key struct {
		workload, variant string
		size              int
		x                 float64
	}
	byKey, values := map[key]*Summary{}, map[*Summary]map[string][]float64{}
	var all []*Summary
	for _, r := range results {
		k := key{r.Workload, r.Variant, r.Size, r.X}
		s := byKey[k]
		if s == nil {
			s = &Summary{Workload: r.Workload, Variant: r.Variant, Size: r.Size, X: r.X, Metrics: map[string]Spread{}}
			byKey[k], values[s] = s, map[string][]float64{}
			all = append(all, s)
		}
		if r.Failed != "" {
			s.Failed = append(s.Failed, r.Failed)
			continue
		}
		s.Runs++
		for name, v := range r.Metrics {
			values[s][name] = append(values[s][name], v)
		}
	}
	for s, metrics := range values {
		for name, v := range metrics {
			s.Metrics[name] = SpreadOf(v)
		}
	}
	return all
}
