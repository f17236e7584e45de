package filter

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// ParseTags reads a tag expression: tags between ||, or * (or nothing) for every
// message, also those without a tag. White space around a tag does not count. Errors
// are an *Error.
func ParseTags(text string) (*Expression, error) {
	if err := checkText(text); err != nil {
		return nil, err
	}
	e := &Expression{text: text}
	if trimmed := strings.TrimSpace(text); trimmed == "" || trimmed == "*" {
		e.all = true
		e.nodes = []node{{op: opConstant, truth: isTrue}}
		return e, nil
	}
	tags := node{op: opTags, a: operand{slot: e.slot(Tags)}, texts: make(map[string]struct{})}
	column := 1
	for part := range strings.SplitSeq(text, "||") {
		tag := strings.TrimSpace(part)
		if err := checkTag(tag, column); err != nil {
			return nil, err
		}
		tags.texts[tag] = struct{}{}
		column += utf8.RuneCountInString(part) + 2
	}
	e.nodes = []node{tags}
	return e, nil
}

func checkTag(tag string, column int) error {
	switch {
	case tag == "":
		return syntaxError(column, "a tag is missing between ||")
	case tag == "*":
		return syntaxError(column, "* stands for every message, so it stands alone")
	case strings.ContainsRune(tag, '|'):
		return syntaxError(column, "tags stand between ||, a single | is in none")
	case strings.ContainsFunc(tag, unicode.IsControl):
		return syntaxError(column, "a tag has no control characters")
	}
	return nil
}

// checkText refuses what no expression may be.
func checkText(text string) error {
	switch {
	case len(text) > MaxBytes:
		return limitError(1, "the expression has %d bytes, at most %d are allowed", len(text), MaxBytes)
	case !utf8.ValidString(text):
		return syntaxError(1, "the expression is not UTF-8")
	}
	return nil
}
