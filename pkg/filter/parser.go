package filter

import "slices"

// ParseSQL reads an SQL92 expression (docs/filters.md). Errors are an *Error, which
// is an ErrSyntax or an ErrLimit and names the column.
func ParseSQL(text string) (*Expression, error) {
	if err := checkText(text); err != nil {
		return nil, err
	}
	p := &parser{lexer: lexer{rest: text, column: 1}, e: &Expression{text: text}}
	if err := p.advance(); err != nil {
		return nil, err
	}
	root, err := p.condition()
	if err == nil && p.at.kind != tokenEnd {
		err = syntaxError(p.at.column, "%s does not belong here: AND, OR or the end must follow", p.at.describe())
	}
	if err != nil {
		return nil, err
	}
	p.e.root = root
	return p.e, nil
}

// parser reads by recursive descent. It knows one token ahead.
type parser struct {
	lexer lexer
	at    token
	e     *Expression
	depth int
}

func (p *parser) advance() (err error) {
	p.at, err = p.lexer.next()
	return err
}

// take passes over a word or sign, if it is there.
func (p *parser) take(text string) (bool, error) {
	if !p.sees(text) {
		return false, nil
	}
	return true, p.advance()
}

func (p *parser) sees(text string) bool {
	return (p.at.kind == tokenWord || p.at.kind == tokenSign) && p.at.text == text
}

// expect is take for what must be there.
func (p *parser) expect(text, where string) error {
	if found, err := p.take(text); found || err != nil {
		return err
	}
	return syntaxError(p.at.column, "%s must stand %s, not %s", text, where, p.at.describe())
}

// add makes a node of n.
func (p *parser) add(n node, column int) (int32, error) {
	if len(p.e.nodes) == MaxNodes {
		return 0, limitError(column, "the expression has more than %d operators and operands", MaxNodes)
	}
	p.e.nodes = append(p.e.nodes, n)
	return int32(len(p.e.nodes) - 1), nil
}

// deeper counts what stands within something else.
func (p *parser) deeper(column int) error {
	if p.depth++; p.depth > MaxDepth {
		return limitError(column, "parentheses and NOT are nested more than %d deep", MaxDepth)
	}
	return nil
}

// condition: conjunction { OR conjunction }.
func (p *parser) condition() (int32, error) { return p.chain("OR", opOr, p.conjunction) }

// conjunction: negation { AND negation }.
func (p *parser) conjunction() (int32, error) { return p.chain("AND", opAnd, p.negation) }

func (p *parser) chain(word string, op op, part func() (int32, error)) (int32, error) {
	left, err := part()
	for err == nil && p.sees(word) {
		column := p.at.column
		if err = p.advance(); err != nil {
			break
		}
		var right int32
		if right, err = part(); err == nil {
			left, err = p.add(node{op: op, left: left, right: right}, column)
		}
	}
	return left, err
}

// negation: NOT negation | predicate.
func (p *parser) negation() (int32, error) {
	column := p.at.column
	not, err := p.take("NOT")
	if err != nil || !not {
		if err != nil {
			return 0, err
		}
		return p.predicate()
	}
	if err := p.deeper(column); err != nil {
		return 0, err
	}
	inner, err := p.negation()
	p.depth--
	if err != nil {
		return 0, err
	}
	return p.add(node{op: opNot, left: inner}, column)
}

// predicate: "(" condition ")" | operand [ test ].
func (p *parser) predicate() (int32, error) {
	if p.sees("(") {
		return p.parenthesis()
	}
	a, err := p.operand()
	if err != nil {
		return 0, err
	}
	return p.test(a)
}

func (p *parser) parenthesis() (int32, error) {
	column := p.at.column
	if err := p.deeper(column); err != nil {
		return 0, err
	}
	if err := p.advance(); err != nil {
		return 0, err
	}
	inner, err := p.condition()
	p.depth--
	if err != nil {
		return 0, err
	}
	return inner, p.expect(")", "behind what ( begins")
}

// operand: a property, text, number, TRUE or FALSE.
func (p *parser) operand() (operand, error) {
	t := p.at
	o := operand{column: t.column}
	switch {
	case t.kind == tokenName:
		if o.slot = p.e.slot(t.text); o.slot < 0 {
			return o, limitError(t.column, "the expression names more than %d properties", MaxProperties)
		}
	case t.kind == tokenString:
		o.kind, o.text = operandText, t.text
	case p.sees("TRUE") || p.sees("FALSE"):
		o.kind, o.truth = operandBoolean, truthOf(t.text == "TRUE")
	case p.sees("NULL"):
		return o, syntaxError(t.column, "NULL stands only behind IS or IS NOT: nothing equals it")
	case t.kind == tokenNumber || p.sees("-") || p.sees("+"):
		return p.signed(o)
	default:
		return o, syntaxError(t.column, "a property, a text, a number, TRUE, FALSE, NOT or ( must stand here, not %s", t.describe())
	}
	return o, p.advance()
}

// signed reads a number and the signs before it.
func (p *parser) signed(o operand) (operand, error) {
	o.kind = operandNumber
	minus := false
	for p.sees("-") || p.sees("+") {
		minus = minus != (p.at.text == "-")
		if err := p.advance(); err != nil {
			return o, err
		}
	}
	if p.at.kind != tokenNumber {
		return o, syntaxError(p.at.column, "a number must stand behind + and -, not %s", p.at.describe())
	}
	text := p.at.text
	if minus { // with it, so that the lowest number is read exactly
		text = "-" + text
	}
	var ok bool
	if o.number, ok = textNumber(text); !ok {
		return o, syntaxError(p.at.column, "%s is no number: at most %d characters, and exponents up to %d", clip(text), maxNumberBytes, maxExponent)
	}
	return o, p.advance()
}

// test: what is asked of a.
func (p *parser) test(a operand) (int32, error) {
	t := p.at
	if op, ok := comparisons[t.text]; ok && t.kind == tokenSign {
		return p.comparison(a, op)
	}
	if found, err := p.take("IS"); found || err != nil {
		return p.isNull(a, t.column, err)
	}
	not, err := p.take("NOT")
	if err != nil {
		return 0, err
	}
	tests := map[string]func(operand, int) (int32, error){
		"BETWEEN": p.between, "IN": p.in, "LIKE": p.like, "CONTAINS": p.contains, "STARTSWITH": p.startsWith, "ENDSWITH": p.endsWith,
	}
	test, ok := tests[p.at.text]
	switch {
	case p.at.kind == tokenWord && ok:
	case not:
		return 0, syntaxError(p.at.column, "BETWEEN, IN, LIKE, CONTAINS, STARTSWITH or ENDSWITH must stand behind NOT, not %s", p.at.describe())
	default:
		return p.alone(a)
	}
	column := p.at.column
	if err := p.advance(); err != nil {
		return 0, err
	}
	n, err := test(a, column)
	if err == nil && not {
		n, err = p.add(node{op: opNot, left: n}, t.column)
	}
	return n, err
}

var comparisons = map[string]op{
	"=": opEqual, "<>": opNotEqual, "!=": opNotEqual, "<": opLess, "<=": opLessEqual, ">": opGreater, ">=": opGreaterEqual,
}

// alone makes a condition of an operand that nothing is asked of.
func (p *parser) alone(a operand) (int32, error) {
	switch a.kind {
	case operandProperty:
		return p.add(node{op: opProperty, a: a}, a.column)
	case operandBoolean:
		return p.add(node{op: opConstant, truth: a.truth}, a.column)
	case operandText, operandNumber:
	}
	return 0, syntaxError(p.at.column, "a comparison must follow the constant, not %s", p.at.describe())
}

func (p *parser) comparison(a operand, op op) (int32, error) {
	column := p.at.column
	if err := p.advance(); err != nil {
		return 0, err
	}
	b, err := p.operand()
	if err == nil {
		err = comparable(a, b, op, column)
	}
	if err != nil {
		return 0, err
	}
	return p.add(node{op: op, a: a, b: b}, column)
}

// comparable refuses comparisons that could not be true of any message.
func comparable(a, b operand, op op, column int) error {
	if op != opEqual && op != opNotEqual {
		for _, o := range [...]operand{a, b} {
			if o.kind == operandText || o.kind == operandBoolean {
				return syntaxError(o.column, "only numbers are greater or less than one another, not texts and booleans")
			}
		}
	}
	if a.kind != b.kind && a.kind != operandProperty && b.kind != operandProperty {
		return syntaxError(column, "the two constants are of different kinds")
	}
	return nil
}

func (p *parser) isNull(a operand, column int, err error) (int32, error) {
	var not bool
	if err == nil {
		not, err = p.take("NOT")
	}
	if err == nil {
		err = p.expect("NULL", "behind IS")
	}
	if err == nil && a.kind != operandProperty {
		err = syntaxError(a.column, "only a property can be NULL")
	}
	if err != nil {
		return 0, err
	}
	n, err := p.add(node{op: opIsNull, a: a}, column)
	if err == nil && not {
		n, err = p.add(node{op: opNot, left: n}, column)
	}
	return n, err
}

// between: a BETWEEN low AND high is a >= low AND a <= high.
func (p *parser) between(a operand, column int) (int32, error) {
	low, err := p.operand()
	if err == nil {
		err = comparable(a, low, opGreaterEqual, column)
	}
	if err == nil {
		err = p.expect("AND", "between the bounds of BETWEEN")
	}
	var high operand
	if err == nil {
		high, err = p.operand()
	}
	if err == nil {
		err = comparable(a, high, opLessEqual, column)
	}
	if err == nil && low.kind == operandNumber && high.kind == operandNumber && low.number.compare(high.number) > 0 {
		err = syntaxError(low.column, "the lower bound of BETWEEN is above the upper one")
	}
	if err != nil {
		return 0, err
	}
	above, err := p.add(node{op: opGreaterEqual, a: a, b: low}, column)
	if err != nil {
		return 0, err
	}
	below, err := p.add(node{op: opLessEqual, a: a, b: high}, column)
	if err != nil {
		return 0, err
	}
	return p.add(node{op: opAnd, left: above, right: below}, column)
}

// in: a IN (constant, …), all texts or all numbers.
func (p *parser) in(a operand, column int) (int32, error) {
	if a.kind != operandProperty {
		return 0, syntaxError(a.column, "a property must stand before IN")
	}
	if err := p.expect("(", "behind IN"); err != nil {
		return 0, err
	}
	n := node{op: opTexts, a: a, texts: make(map[string]struct{})}
	for first := true; ; first = false {
		o, err := p.operand()
		if err != nil {
			return 0, err
		}
		if first && o.kind == operandNumber {
			n.op, n.texts = opNumbers, nil
		}
		switch {
		case o.kind == operandText && n.op == opTexts:
			n.texts[o.text] = struct{}{}
		case o.kind == operandNumber && n.op == opNumbers:
			n.numbers = append(n.numbers, o.number)
		default:
			return 0, syntaxError(o.column, "the values of IN are all texts or all numbers")
		}
		more, err := p.take(",")
		if err != nil {
			return 0, err
		}
		if !more {
			break
		}
	}
	slices.SortFunc(n.numbers, number.compare)
	if err := p.expect(")", "behind the values of IN"); err != nil {
		return 0, err
	}
	return p.add(n, column)
}
