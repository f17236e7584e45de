package client

import brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

// Filter says which messages a Consumer wants (docs/filters.md). Its zero value is all.
type Filter struct {
	kind       brokerv1.Filter_Kind
	expression string
}

// TagFilter wants messages with one of the tags between ||, such as "paid || refunded";
// "*" wants all. One that cannot be read makes Next fail with ErrInvalidFilter.
func TagFilter(expression string) Filter {
	return Filter{kind: brokerv1.Filter_KIND_TAG, expression: expression}
}

// SQLFilter wants messages of which an SQL92 expression is true, such as
// "region = 'EU' AND price > 10". One that cannot be read makes Next fail with
// ErrInvalidFilter, which names the column.
func SQLFilter(expression string) Filter {
	return Filter{kind: brokerv1.Filter_KIND_SQL92, expression: expression}
}

// none says that all messages are wanted, and the brokers need not look.
func (f Filter) none() bool { return f.kind == brokerv1.Filter_KIND_UNSPECIFIED }

// proto is what brokers are told.
func (f Filter) proto() *brokerv1.Filter {
	if f.none() {
		return nil
	}
	return &brokerv1.Filter{Kind: f.kind, Expression: f.expression}
}

// matches says whether the record at an offset of the present batch is wanted.
func (f *fetched) matches(offset int64) bool {
	info := f.infos[f.at-1]
	bits := info.GetMatches()
	if len(bits) == 0 {
		return true
	}
	n := offset - info.GetBaseOffset()
	return n/8 < int64(len(bits)) && bits[n/8]>>(n%8)&1 != 0
}

// skipped goes over what a filter left out of an answer, up to where the broker has
// looked.
func (f *fetcher) skipped(frame *pullFrame, next int64) (after int64, err error) {
	if f.cs.cfg.Filter.none() {
		return next, nil
	}
	looked := frame.GetNextOffset()
	if looked == 0 {
		return 0, errorf(CodeUnimplemented, "%s/%d: the leader's version knows no filters", f.cs.cfg.Topic, f.queue)
	}
	return looked, nil
}
