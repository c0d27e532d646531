//go:build !purego

package twinsum

import "golang.org/x/sys/cpu"

// accelerated tells whether the processor has the instructions of compress.
func accelerated() bool { return cpu.X86.HasSSSE3 && hasSHA }

var hasSHA = detectSHA()

// compress takes the blocks of p, whole ones of 64 bytes, into the words of two digests.
func compress(a, b *[8]uint32, p []byte) {
	pack(a)
	pack(b)
	compressPacked(a, b, p)
	unpack(a)
	unpack(b)
}

// pack brings words a to h into the order of the two registers that the instructions
// work on: f e b a, h g d c.
func pack(w *[8]uint32) { *w = [8]uint32{w[5], w[4], w[1], w[0], w[7], w[6], w[3], w[2]} }

func unpack(w *[8]uint32) { *w = [8]uint32{w[3], w[2], w[7], w[6], w[1], w[0], w[5], w[4]} }

// compressPacked is compress for packed words.
//
//go:noescape
func compressPacked(a, b *[8]uint32, p []byte)

// detectSHA asks the processor for the SHA extensions, which golang.org/x/sys/cpu does
// not tell.
func detectSHA() bool
