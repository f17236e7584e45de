package broker

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/ledgermq/ledgermq/pkg/state"
)

// receiptParts is how many numbers a receipt has.
const receiptParts = 7

// String is the text that consumers get.
func (r receipt) String() string {
	return fmt.Sprintf("w-%x-%x-%x-%x-%x-%x-%x", r.group, uint32(r.queue), r.epoch, int64(r.offset), r.attempt, r.term, r.seq)
}

// parseReceipt reads the text of a receipt.
func parseReceipt(text string) (receipt, error) {
	parts := strings.Split(text, "-")
	if len(parts) != receiptParts+1 || parts[0] != "w" {
		return receipt{}, invalidReceipt(text)
	}
	var n [receiptParts]uint64
	for i, part := range parts[1:] {
		var err error
		if n[i], err = strconv.ParseUint(part, 16, 64); err != nil {
			return receipt{}, invalidReceipt(text)
		}
	}
	if n[1] > math.MaxUint32 || n[3] > math.MaxInt64 || n[4] > state.MaxAttempts || n[5] > math.MaxInt64 {
		return receipt{}, invalidReceipt(text)
	}
	r := receipt{n[0], state.QueueID(n[1]), n[2], state.Offset(n[3]), uint32(n[4]), int64(n[5]), n[6]}
	if r.String() != text {
		return receipt{}, invalidReceipt(text)
	}
	return r, nil
}

func invalidReceipt(text string) *Error {
	return errorf(CodeInvalidHandle, "%.64q is not a receipt of a message", text)
}
