package broker

import (
	"bytes"
	"io"
	"sync"
)

// syncBuffer is a bytes.Buffer for several writers.
type syncBuffer struct {
	mu struct {
		sync.Mutex
		bytes.Buffer
	}
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.Buffer.Write(p)
}

func (b *syncBuffer) reader() io.Reader {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.NewReader(bytes.Clone(b.mu.Bytes()))
}
