package filter

import (
	"strings"
	"unicode/utf8"
)

// kind is what a token is.
type kind uint8

const (
	tokenEnd kind = iota
	tokenName
	tokenWord // a reserved word, in upper case
	tokenString
	tokenNumber
	tokenSign // an operator or punctuation
)

// token is one word of an expression.
type token struct {
	kind   kind
	text   string // of a string: its value
	column int
}

// describe is how an error message calls a token.
func (t token) describe() string {
	switch t.kind {
	case tokenEnd:
		return "the end"
	case tokenString:
		return "the text '" + clip(t.text) + "'"
	case tokenName, tokenWord, tokenNumber, tokenSign:
	}
	return clip(t.text)
}

// clip keeps messages short: expressions come from anyone.
func clip(s string) string {
	const most = 40
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + "…"
}

// words are reserved, in any case.
var words = map[string]bool{
	"AND": true, "OR": true, "NOT": true, "BETWEEN": true, "IN": true, "IS": true, "NULL": true, "TRUE": true, "FALSE": true,
	"LIKE": true, "ESCAPE": true, "CONTAINS": true, "STARTSWITH": true, "ENDSWITH": true,
}

// lexer cuts an expression into tokens.
type lexer struct {
	rest   string
	column int
}

// take consumes n bytes.
func (l *lexer) take(n int) string {
	text := l.rest[:n]
	l.rest = l.rest[n:]
	l.column += utf8.RuneCountInString(text)
	return text
}

// next reads one token; tokenEnd behind the last one.
func (l *lexer) next() (token, error) {
	if err := l.skip(); err != nil {
		return token{}, err
	}
	t := token{column: l.column}
	switch c := l.peek(0); {
	case l.rest == "":
		return t, nil
	case nameBegins(c):
		return l.name(t), nil
	case digit(c), c == '.' && digit(l.peek(1)):
		return l.number(t)
	case c == '\'':
		return l.quoted(t)
	}
	for _, sign := range [...]string{"<>", "!=", "<=", ">=", "=", "<", ">", "(", ")", ",", "+", "-"} {
		if strings.HasPrefix(l.rest, sign) {
			t.kind, t.text = tokenSign, l.take(len(sign))
			return t, nil
		}
	}
	r, _ := utf8.DecodeRuneInString(l.rest)
	return t, syntaxError(t.column, "%q does not belong here", r)
}

// peek is the byte n behind the next one; 0 at the end.
func (l *lexer) peek(n int) byte {
	if n >= len(l.rest) {
		return 0
	}
	return l.rest[n]
}

// skip passes over white space and comments.
func (l *lexer) skip() error {
	for {
		switch c := l.peek(0); {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f':
			l.take(1)
		case strings.HasPrefix(l.rest, "--"):
			n := strings.IndexAny(l.rest, "\r\n")
			if n < 0 {
				n = len(l.rest)
			}
			l.take(n)
		case strings.HasPrefix(l.rest, "/*"):
			n := strings.Index(l.rest[2:], "*/")
			if n < 0 {
				return syntaxError(l.column, "the comment has no end: */ is missing")
			}
			l.take(n + 4)
		default:
			return nil
		}
	}
}

func (l *lexer) name(t token) token {
	n := 1
	for n < len(l.rest) && nameGoesOn(l.rest[n]) {
		n++
	}
	t.kind, t.text = tokenName, l.take(n)
	if upper := strings.ToUpper(t.text); words[upper] {
		t.kind, t.text = tokenWord, upper
	}
	return t
}

// number reads what textNumber reads, without a sign, and Java's L behind it.
func (l *lexer) number(t token) (token, error) {
	n := 0
	for n < len(l.rest) && (digit(l.rest[n]) || l.rest[n] == '.') {
		n++
	}
	if c := l.peek(n); c == 'e' || c == 'E' {
		n++
		if c := l.peek(n); c == '+' || c == '-' {
			n++
		}
		for n < len(l.rest) && digit(l.rest[n]) {
			n++
		}
	}
	t.kind, t.text = tokenNumber, l.take(n)
	if c := l.peek(0); c == 'l' || c == 'L' {
		l.take(1)
	}
	if _, ok := textNumber(t.text); !ok {
		return t, syntaxError(t.column, "%s is no number: at most %d characters, and exponents up to %d", clip(t.text), maxNumberBytes, maxExponent)
	}
	if c := l.peek(0); nameGoesOn(c) {
		return t, syntaxError(l.column, "%q does not belong behind the number %s", c, t.text)
	}
	return t, nil
}

// quoted reads 'text', in which two quotes stand for one quote.
func (l *lexer) quoted(t token) (token, error) {
	var text strings.Builder
	t.kind = tokenString
	l.take(1)
	for {
		n := strings.IndexByte(l.rest, '\'')
		if n < 0 {
			return t, syntaxError(t.column, "the text has no end: ' is missing")
		}
		text.WriteString(l.rest[:n])
		l.take(n + 1)
		if l.peek(0) != '\'' {
			t.text = text.String()
			return t, nil
		}
		text.WriteByte('\'')
		l.take(1)
	}
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

func nameBegins(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || c == '$'
}

// nameGoesOn takes neither hyphens nor dots, as in RocketMQ: headers whose names have
// some cannot be named in an expression.
func nameGoesOn(c byte) bool { return nameBegins(c) || digit(c) }
