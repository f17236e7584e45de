package filter

import "unicode/utf8"

// The tests that look into a text: LIKE, CONTAINS, STARTSWITH, ENDSWITH.

// like: a LIKE 'pattern' [ ESCAPE 'c' ].
func (p *parser) like(a operand, column int) (int32, error) {
	text, err := p.textOf("LIKE")
	if err != nil {
		return 0, err
	}
	escape, err := p.escape()
	if err != nil {
		return 0, err
	}
	elements, err := likeElements(text, escape)
	if err != nil {
		return 0, err
	}
	return p.pattern(a, column, text.column, elements)
}

func (p *parser) contains(a operand, column int) (int32, error) {
	return p.within(a, column, "CONTAINS", true, true)
}

func (p *parser) startsWith(a operand, column int) (int32, error) {
	return p.within(a, column, "STARTSWITH", false, true)
}

func (p *parser) endsWith(a operand, column int) (int32, error) {
	return p.within(a, column, "ENDSWITH", true, false)
}

// within looks for a text that has anything before or behind it.
func (p *parser) within(a operand, column int, word string, before, behind bool) (int32, error) {
	text, err := p.textOf(word)
	if err != nil {
		return 0, err
	}
	var elements []element
	if before {
		elements = append(elements, element{many: true})
	}
	for _, char := range text.text {
		elements = append(elements, element{char: char})
	}
	if behind {
		elements = append(elements, element{many: true})
	}
	return p.pattern(a, column, text.column, elements)
}

func (p *parser) textOf(word string) (token, error) {
	t := p.at
	if t.kind != tokenString {
		return t, syntaxError(t.column, "a text in quotes must stand behind %s, not %s", word, t.describe())
	}
	return t, p.advance()
}

// escape reads the character that takes the meaning from % and _; 0: none.
func (p *parser) escape() (rune, error) {
	found, err := p.take("ESCAPE")
	if !found || err != nil {
		return 0, err
	}
	t, err := p.textOf("ESCAPE")
	if err != nil {
		return 0, err
	}
	if utf8.RuneCountInString(t.text) != 1 || t.text == "%" || t.text == "_" {
		return 0, syntaxError(t.column, "ESCAPE names one character, neither %% nor _")
	}
	char, _ := utf8.DecodeRuneInString(t.text)
	return char, nil
}

// likeElements reads a pattern.
func likeElements(t token, escape rune) ([]element, error) {
	var elements []element
	escaped := false
	for _, char := range t.text {
		switch {
		case escaped && char != '%' && char != '_' && char != escape:
			return nil, syntaxError(t.column, "%q stands before %q in the pattern, and not before %%, _ or itself", escape, char)
		case escaped:
			elements, escaped = append(elements, element{char: char}), false
		case escape != 0 && char == escape:
			escaped = true
		default:
			elements = append(elements, element{char: char, wild: char == '_', many: char == '%'})
		}
	}
	if escaped {
		return nil, syntaxError(t.column, "the pattern ends with its escape character")
	}
	return elements, nil
}

func (p *parser) pattern(a operand, column, at int, elements []element) (int32, error) {
	switch {
	case a.kind != operandProperty:
		return 0, syntaxError(a.column, "a property must stand before LIKE, CONTAINS, STARTSWITH and ENDSWITH")
	case len(elements) > MaxPattern:
		return 0, limitError(at, "the text to look for has %d characters, at most %d are allowed", len(elements), MaxPattern)
	}
	return p.add(node{op: opPattern, a: a, pattern: newPattern(elements)}, column)
}
