package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
)

// sectionFrom is the size in bytes from which on a file is digested together with the
// tar stream. Small ones are digested by themselves: waiting for the other goroutine
// would cost more.
const sectionFrom = pipeBlockSize

// contentSum digests the contents of files, one after the other, that pass through a
// pipe on their way into a tar stream or out of it.
type contentSum struct {
	pipe  *pipe     // nil: there is no stream
	small hash.Hash // made for the first small file
	large bool      // the file is a section of the stream
	open  bool      // that has not ended
	sum   []byte    // of a large file, at its end
}

// begin is called before the first byte of a file; size is what its header announces.
func (c *contentSum) begin(size int64) {
	c.large, c.sum = c.pipe != nil && size >= sectionFrom, nil
	if c.large {
		c.open = true
		c.pipe.beginSection()
		return
	}
	if c.small == nil {
		c.small = sha256.New()
	}
	c.small.Reset()
}

// Write is told of content that passes through the pipe, too; it never fails.
func (c *contentSum) Write(p []byte) (int, error) {
	if !c.large && len(p) > 0 {
		return c.small.Write(p)
	}
	return len(p), nil
}

// end is called behind the last byte of a file, or where the rest is of no interest.
func (c *contentSum) end() {
	if c.open {
		c.open, c.sum = false, c.pipe.endSection()
	}
}

// digest is that of the file; nil before there was one, and of a large one before its end.
func (c *contentSum) digest() []byte {
	if c.large || c.small == nil {
		return c.sum
	}
	return c.small.Sum(nil)
}

func (c *contentSum) hex() string { return hex.EncodeToString(c.digest()) }
