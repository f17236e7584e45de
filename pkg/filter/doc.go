// Package filter decides which messages a consumer wants: tag expressions
// (`a || b`) and SQL92 expressions over a message's properties
// (`region = 'EU' AND price > 10`), as RocketMQ has them. docs/filters.md is the
// language's reference.
//
// An [Expression] is parsed once, never changes, and is safe for concurrent use. A
// [Matcher] evaluates it, one goroutine at a time, and allocates nothing per message.
//
// Expressions and messages come from anyone, so both cost at most so much. What an
// expression may be is bounded when it is parsed ([MaxBytes], [MaxDepth], [MaxNodes],
// [MaxProperties]); what evaluating it may cost on one message is counted in steps
// ([MaxSteps]), each about a byte that is looked at. Nothing in here takes more than
// linear time in the text that it looks at: there are no regular expressions, and LIKE
// goes over a value once.
//
// The package has no goroutines, knows nothing of batches or brokers, and never looks
// at a clock.
package filter
