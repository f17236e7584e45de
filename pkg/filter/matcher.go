package filter

import (
	"slices"
	"strings"
)

// truth is SQL's: a comparison with something that is not there is neither true nor
// false. The values are in the order in which AND takes the least and OR the most.
type truth int8

const (
	isFalse truth = iota
	unknown
	isTrue
)

func truthOf(b bool) truth {
	if b {
		return isTrue
	}
	return isFalse
}

func (t truth) not() truth { return isTrue - t }

// Value is what a message has under a name.
type Value struct {
	text    string
	integer int64
	whole   bool // integer is it
}

// Text is a value that is text. Where an expression compares it with a number or a
// boolean, it is read as one. It need not be UTF-8.
func Text(s string) Value { return Value{text: s} }

// Integer is a value that is a number.
func Integer(n int64) Value { return Value{integer: n, whole: true} }

// Message is what an expression looks at. Property returns what it has under a name,
// not ok if there is nothing: that is SQL's NULL.
type Message interface {
	Property(name string) (v Value, ok bool)
}

// Matcher evaluates an expression. One goroutine at a time.
type Matcher struct {
	e       *Expression
	values  []known
	message Message
	steps   int
}

// known is what is known of a property of the message at hand.
type known struct {
	asked    bool
	there    bool
	numeric  bool // number was read, or is the value
	notOne   bool // there is none to read
	wasWhole bool // the value is a number by itself
	text     string
	number   number
}

// Matcher makes one.
func (e *Expression) Matcher() *Matcher {
	return &Matcher{e: e, values: make([]known, len(e.properties))}
}

// Match says whether the expression is true of the message. Its error is ErrCost.
// Nothing of the message is kept.
func (m *Matcher) Match(message Message) (bool, error) {
	if m.e.all {
		return true, nil
	}
	m.message, m.steps = message, 0
	t := m.eval(m.e.root)
	m.message = nil
	clear(m.values)
	if m.steps > MaxSteps {
		return false, ErrCost
	}
	return t == isTrue, nil
}

// Steps is what the last Match cost.
func (m *Matcher) Steps() int { return m.steps }

// spend counts steps; when they are used up, nothing costly is done any more.
func (m *Matcher) spend(n int) bool {
	m.steps += n
	return m.steps <= MaxSteps
}

func (m *Matcher) eval(at int32) truth {
	n := &m.e.nodes[at]
	if !m.spend(1) {
		return unknown
	}
	switch n.op {
	case opConstant:
		return n.truth
	case opAnd:
		left := m.eval(n.left)
		if left == isFalse {
			return isFalse
		}
		return min(left, m.eval(n.right))
	case opOr:
		left := m.eval(n.left)
		if left == isTrue {
			return isTrue
		}
		return max(left, m.eval(n.right))
	case opNot:
		return m.eval(n.left).not()
	case opProperty:
		return m.boolean(&n.a)
	case opEqual:
		return m.equal(n)
	case opNotEqual:
		return m.equal(n).not()
	case opIsNull:
		return truthOf(!m.value(n.a.slot).there)
	case opTexts, opTags, opNumbers, opPattern:
		return m.probe(n)
	case opLess, opLessEqual, opGreater, opGreaterEqual:
		return m.order(n)
	}
	panic("filter: a node of no known kind")
}

// value asks the message for a property, once.
func (m *Matcher) value(slot int32) *known {
	v := &m.values[slot]
	if v.asked {
		return v
	}
	v.asked = true
	got, ok := m.message.Property(m.e.properties[slot])
	v.there = ok
	if got.whole {
		v.numeric, v.wasWhole, v.number = true, true, number{integer: got.integer, whole: true}
	}
	v.text = got.text
	m.spend(8)
	return v
}

// number returns an operand's number; not ok if it has none.
func (m *Matcher) number(o *operand) (number, bool) {
	if o.kind == operandNumber {
		return o.number, true
	}
	v := m.value(o.slot)
	if !v.there || v.notOne {
		return number{}, false
	}
	if !v.numeric {
		m.spend(min(len(v.text), maxNumberBytes))
		v.number, v.numeric = textNumber(v.text)
		v.notOne = !v.numeric
	}
	return v.number, v.numeric
}

// boolean returns an operand as a truth; unknown if it is none.
func (m *Matcher) boolean(o *operand) truth {
	if o.kind == operandBoolean {
		return o.truth
	}
	switch v := m.value(o.slot); {
	case !v.there || v.wasWhole:
		return unknown
	case strings.EqualFold(v.text, "true"):
		return isTrue
	case strings.EqualFold(v.text, "false"):
		return isFalse
	}
	return unknown
}

// text returns an operand as text; not ok if it is not there, or a number by itself.
func (m *Matcher) text(o *operand) (string, bool) {
	if o.kind == operandText {
		return o.text, true
	}
	v := m.value(o.slot)
	return v.text, v.there && !v.wasWhole
}

// equal compares as the constant says, if there is one; two properties as numbers if
// one of them is a number by itself, else as texts.
func (m *Matcher) equal(n *node) truth {
	a, b := &n.a, &n.b
	switch {
	case a.kind == operandBoolean || b.kind == operandBoolean:
		left, right := m.boolean(a), m.boolean(b)
		if left == unknown || right == unknown {
			return unknown
		}
		return truthOf(left == right)
	case m.isNumber(a) || m.isNumber(b):
		left, leftOK := m.number(a)
		right, rightOK := m.number(b)
		if !leftOK || !rightOK {
			return unknown
		}
		return truthOf(left.compare(right) == 0)
	}
	left, leftOK := m.text(a)
	right, rightOK := m.text(b)
	if !leftOK || !rightOK {
		return unknown
	}
	return truthOf(m.spend(min(len(left), len(right))/16) && left == right)
}

func (m *Matcher) isNumber(o *operand) bool {
	return o.kind == operandNumber || o.kind == operandProperty && m.value(o.slot).wasWhole
}

func (m *Matcher) order(n *node) truth {
	left, leftOK := m.number(&n.a)
	right, rightOK := m.number(&n.b)
	if !leftOK || !rightOK {
		return unknown
	}
	c := left.compare(right)
	switch n.op {
	case opLess:
		return truthOf(c < 0)
	case opLessEqual:
		return truthOf(c <= 0)
	case opGreater:
		return truthOf(c > 0)
	default:
		return truthOf(c >= 0)
	}
}

// probe looks for a property in a list, or for something in a property.
func (m *Matcher) probe(n *node) truth {
	if n.op == opNumbers {
		v, ok := m.number(&n.a)
		if !ok {
			return unknown
		}
		_, found := slices.BinarySearchFunc(n.numbers, v, number.compare)
		return truthOf(found)
	}
	text, ok := m.text(&n.a)
	if !ok {
		return unknown
	}
	if n.op == opPattern {
		return truthOf(m.spend(n.pattern.cost(len(text))) && n.pattern.match(text))
	}
	if !m.spend(len(text) / 4) {
		return unknown
	}
	_, found := n.texts[text]
	return truthOf(found)
}
