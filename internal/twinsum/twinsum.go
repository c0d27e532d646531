// Package twinsum digests a stream and sections of it with SHA-256 in one pass.
//
// Each file of a boot tree is proved twice: by its line in SHA256SUM, and within the
// diff ID of its layer, the digest of the whole tar. Both digests take the same blocks
// of 64 bytes where they begin at a multiple of that, as files do in a tar. The
// instructions for SHA-256 wait for each other within one digest, so that a core which
// works on two of them at once takes no longer than for one. Where it cannot (other
// processors, the build tag purego), the digests are computed one after the other.
package twinsum

import (
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"hash"
)

const (
	// least is how many bytes are worth moving the state of two digests for.
	least = 4 << 10
	// stateSize is the length of a state: name, eight words, a block, the count of bytes.
	stateSize = 4 + 32 + sha256.BlockSize + 8
	stateName = "sha\x03"
)

// digest is what crypto/sha256 gives. It keeps everything, so that only whole blocks
// are computed here.
type digest struct {
	hash.Hash
	size  uint64 // bytes taken
	state [stateSize]byte
}

// Hash digests a stream, and sections of it that do not overlap. It is for one
// goroutine.
type Hash struct {
	stream, section digest
	open            bool
}

// New gives a Hash of an empty stream.
func New() *Hash {
	return &Hash{stream: digest{Hash: sha256.New()}, section: digest{Hash: sha256.New()}}
}

// Begin starts a section with the next byte. One that is open ends without a result.
func (h *Hash) Begin() {
	h.section.Reset()
	h.section.size = 0
	h.open = true
}

// End ends the section and gives its SHA-256, of 32 bytes; nil if none is open.
func (h *Hash) End() []byte {
	if !h.open {
		return nil
	}
	h.open = false
	return h.section.Sum(nil)
}

// Sum gives the SHA-256 of the stream up to here, of 32 bytes.
func (h *Hash) Sum() []byte { return h.stream.Sum(nil) }

// Write implements [io.Writer]; it never fails.
func (h *Hash) Write(p []byte) (int, error) {
	all := len(p)
	if !h.open {
		return h.stream.take(p)
	}
	if n := h.toBlock(); accelerated() && n >= 0 && len(p) >= n+least {
		h.each(p[:n])
		p = p[n:]
		p = p[h.blocks(p):]
	}
	h.each(p)
	return all, nil
}

// toBlock is how many bytes are missing to a whole block of both digests; -1 if the
// two never have one together.
func (h *Hash) toBlock() int {
	if (h.stream.size-h.section.size)%sha256.BlockSize != 0 {
		return -1
	}
	return int(-h.stream.size % sha256.BlockSize)
}

// each gives p to both digests, one after the other.
func (h *Hash) each(p []byte) {
	_, _ = h.stream.take(p)
	_, _ = h.section.take(p)
}

// blocks gives the whole blocks of p to both digests at once, and tells how many bytes
// that were.
func (h *Hash) blocks(p []byte) int {
	var a, b [8]uint32
	if !h.stream.load(&a) || !h.section.load(&b) {
		return 0
	}
	n := len(p) &^ (sha256.BlockSize - 1)
	compress(&a, &b, p[:n])
	h.stream.store(&a, n)
	h.section.store(&b, n)
	return n
}

func (d *digest) take(p []byte) (int, error) {
	d.size += uint64(len(p))
	return d.Hash.Write(p)
}

// load gives the words of a digest that has whole blocks; false where crypto/sha256
// shows its state in another form than the one known.
func (d *digest) load(words *[8]uint32) bool {
	state, err := d.Hash.(encoding.BinaryAppender).AppendBinary(d.state[:0])
	if err != nil || len(state) != stateSize || &state[0] != &d.state[0] || string(state[:4]) != stateName {
		return false
	}
	for i := range words {
		words[i] = binary.BigEndian.Uint32(state[4+4*i:])
	}
	return true
}

// store puts back the words after n more bytes, which are whole blocks.
func (d *digest) store(words *[8]uint32, n int) {
	for i, w := range words {
		binary.BigEndian.PutUint32(d.state[4+4*i:], w)
	}
	d.size += uint64(n)
	binary.BigEndian.PutUint64(d.state[stateSize-8:], d.size)
	if err := d.Hash.(encoding.BinaryUnmarshaler).UnmarshalBinary(d.state[:]); err != nil {
		panic(err) // it is its own state, with other words
	}
}
