package filter

import "unsafe"

// op is what a node does.
type op uint8

const (
	opConstant op = iota // truth
	opAnd                // left, right
	opOr
	opNot // left
	opProperty
	opEqual // a, b
	opNotEqual
	opLess
	opLessEqual
	opGreater
	opGreaterEqual
	opIsNull // a
	opTexts  // a is one of texts
	opNumbers
	opPattern // a is like pattern
	opTags    // a, the message's tag, is one of texts
)

// node is one operator with its operands.
type node struct {
	op          op
	truth       truth
	left, right int32 // nodes
	a, b        operand
	texts       map[string]struct{}
	numbers     []number // sorted
	pattern     *pattern
}

// operand is a constant, or a property by its place in Expression.properties.
type operand struct {
	kind   operandKind
	column int
	slot   int32
	text   string
	number number
	truth  truth
}

type operandKind uint8

const (
	operandProperty operandKind = iota
	operandText
	operandNumber
	operandBoolean
)

// Expression is a filter that was read. It never changes; any goroutine may use it.
type Expression struct {
	text       string
	properties []string
	nodes      []node
	root       int32
	all        bool
}

// String returns the expression's text.
func (e *Expression) String() string { return e.text }

// MatchesAll says that every message matches, so that none needs to be looked at.
func (e *Expression) MatchesAll() bool { return e.all }

// Properties returns the names that the expression asks a message for.
func (e *Expression) Properties() []string { return append([]string(nil), e.properties...) }

// slot finds the place of a property, making one if there is none; -1: too many.
func (e *Expression) slot(name string) int32 {
	for i, known := range e.properties {
		if known == name {
			return int32(i)
		}
	}
	if len(e.properties) == MaxProperties {
		return -1
	}
	e.properties = append(e.properties, name)
	return int32(len(e.properties) - 1)
}

// Tags is the name under which an expression asks for a message's tag.
const Tags = "TAGS"

// Weight is about how many bytes of memory the expression takes, with one matcher.
func (e *Expression) Weight() int {
	n := 256 + 2*len(e.text) + len(e.nodes)*int(unsafe.Sizeof(node{})) + len(e.properties)*int(unsafe.Sizeof(known{}))
	for i := range e.nodes {
		n += 48*len(e.nodes[i].texts) + len(e.nodes[i].numbers)*int(unsafe.Sizeof(number{}))
		if p := e.nodes[i].pattern; p != nil && p.auto != nil {
			n += int(unsafe.Sizeof(automaton{})) + len(p.auto.other)*96
		}
	}
	return n
}
