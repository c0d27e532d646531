package archive

import (
	"io"
	"math/bits"
)

// Bounds of the mean chunk, see spec/netboot.md: small enough that an update
// re-uses most of a file, large enough that the table of contents stays small. For
// the number that balances the two, docs/performance.md has the measurements.
const (
	minMeanChunk     = 16 << 10
	maxMeanChunk     = 1 << 20
	defaultMeanChunk = 64 << 10 // payload size unknown
	targetChunks     = 65536
)

// meanChunkSize is clamp(payload/65536, 16 KiB, 1 MiB), rounded up to a power of
// two. Rounding keeps the boundaries of two versions of a payload alike although
// their sizes differ a little. A payload of 0 or less means unknown.
func meanChunkSize(payload int64) int {
	if payload <= 0 {
		return defaultMeanChunk
	}
	mean := (payload-1)/targetChunks + 1
	mean = min(max(mean, minMeanChunk), maxMeanChunk)
	return 1 << bits.Len64(uint64(mean-1))
}

// chunker cuts a stream at places that depend on the content near them, so that
// an insertion moves only the boundaries beside it. It is a gear hash: every byte
// shifts the hash by one and adds a random word, so the upper bits depend on the
// last 64 bytes; a boundary is where the topmost bits are all zero.
//
// The mask of a larger mean contains that of a smaller one, so a change of the
// mean keeps many boundaries.
type chunker struct {
	gear       [256]uint64
	mask       uint64
	min, max   int
	buf        []byte // unconsumed bytes are buf[start:end]
	start, end int
}

// newChunker cuts into chunks of mean bytes (a power of two), at least a half of
// it and at most four times as much.
func newChunker(mean int) *chunker {
	c := &chunker{min: mean / 2, max: 4 * mean, buf: make([]byte, 8*mean)}
	// The hash looks for a boundary only behind min, so the expected distance
	// from there is the other half of the mean.
	n := bits.Len(uint(mean/2)) - 1
	c.mask = (1<<n - 1) << (64 - n)
	// The table is part of the format of our blobs: splitmix64 from a fixed seed.
	state := uint64(0x6e62_7061_636b_0001)
	for i := range c.gear {
		state += 0x9e3779b97f4a7c15
		z := state
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		c.gear[i] = z ^ z>>31
	}
	return c
}

// next returns the next chunk of r, valid until the following call, or io.EOF
// when r is at its end and everything was returned.
func (c *chunker) next(r io.Reader) ([]byte, error) {
	if err := c.fill(r); err != nil {
		return nil, err
	}
	if c.start == c.end {
		return nil, io.EOF
	}
	data := c.buf[c.start:min(c.end, c.start+c.max)]
	data = data[:c.cut(data)]
	c.start += len(data)
	return data, nil
}

// fill makes max bytes available, or as many as r still has.
func (c *chunker) fill(r io.Reader) error {
	if c.end-c.start >= c.max {
		return nil
	}
	c.end = copy(c.buf, c.buf[c.start:c.end])
	c.start = 0
	for c.end < c.max {
		n, err := r.Read(c.buf[c.end:])
		c.end += n
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// cut returns the length of the first chunk of data.
func (c *chunker) cut(data []byte) int {
	if len(data) <= c.min {
		return len(data)
	}
	var h uint64
	for _, b := range data[c.min-64 : c.min] {
		h = h<<1 + c.gear[b]
	}
	for i, b := range data[c.min:] {
		h = h<<1 + c.gear[b]
		if h&c.mask == 0 {
			return c.min + i + 1
		}
	}
	return len(data)
}
