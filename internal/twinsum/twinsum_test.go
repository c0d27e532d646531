package twinsum

import (
	"bytes"
	"crypto/sha256"
	"math/rand/v2"
	"testing"
)

// noise is data in which no block is like another.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// check digests data, of which the bytes from and to bound a section, in pieces of the
// given sizes over and over, and compares both digests with those of crypto/sha256.
func check(t *testing.T, data []byte, from, to int, pieces ...int) {
	t.Helper()
	h := New()
	var got []byte
	for at, i := 0, 0; ; {
		if at == from {
			h.Begin()
		}
		if at == to {
			got = h.End()
		}
		if at == len(data) {
			break
		}
		end := min(at+pieces[i%len(pieces)], len(data))
		for _, bound := range []int{from, to} {
			if at < bound {
				end = min(end, bound)
			}
		}
		if n, err := h.Write(data[at:end]); n != end-at || err != nil {
			t.Fatalf("Write of %d bytes = %d, %v", end-at, n, err)
		}
		at, i = end, i+1
	}
	if want := sha256.Sum256(data); !bytes.Equal(h.Sum(), want[:]) {
		t.Errorf("%d bytes in pieces of %d, section [%d, %d): stream %x, want %x", len(data), pieces, from, to, h.Sum(), want)
	}
	if want := sha256.Sum256(data[from:to]); !bytes.Equal(got, want[:]) {
		t.Errorf("%d bytes in pieces of %d, section [%d, %d): section %x, want %x", len(data), pieces, from, to, got, want)
	}
}

func TestBothDigests(t *testing.T) {
	data := noise(1 << 20)
	for _, from := range []int{0, 1, 63, 64, 512, 513, 8192} {
		for _, size := range []int{0, 1, 63, 64, 65, 4095, 4096, 4097, 65536, 300001} {
			check(t, data[:from+size+700], from, from+size, 1<<20)
			check(t, data[:from+size+700], from, from+size, 1, 8192, 63, 20000)
			check(t, data[:from+size], from, from+size, 4160)
		}
	}
}

// TestManySections has sections one after the other, with and without bytes between
// them, and one that is given up.
func TestManySections(t *testing.T) {
	data := noise(1 << 18)
	h := New()
	part := func(from, to int) {
		t.Helper()
		h.Begin()
		_, _ = h.Write(data[from:to])
		if want := sha256.Sum256(data[from:to]); !bytes.Equal(h.End(), want[:]) {
			t.Errorf("section [%d, %d) has a wrong digest", from, to)
		}
	}
	part(0, 70000)
	part(70000, 70000)
	_, _ = h.Write(data[70000:70144])
	part(70144, 150000)
	h.Begin()
	_, _ = h.Write(data[150000:160000])
	part(160000, 1<<18)
	if sum := h.End(); sum != nil {
		t.Errorf("End without a section = %x", sum)
	}
	if want := sha256.Sum256(data); !bytes.Equal(h.Sum(), want[:]) {
		t.Error("the stream has a wrong digest")
	}
}

// TestAccelerated sees that what the tests above compare is the instructions, where
// the processor has them: a state that crypto/sha256 shows otherwise would hide them.
func TestAccelerated(t *testing.T) {
	h := New()
	h.Begin()
	want := 8192
	if !accelerated() {
		t.Skip("this build or processor computes one digest after the other")
	}
	if n := h.blocks(make([]byte, 8192+5)); n != want {
		t.Errorf("%d of %d bytes were taken by both digests at once", n, want)
	}
}

func FuzzBothDigests(f *testing.F) {
	f.Add([]byte("0123456789"), uint16(3), uint16(5), uint16(7))
	f.Add(noise(9000), uint16(512), uint16(8000), uint16(4500))
	f.Fuzz(func(t *testing.T, seed []byte, from, size, piece uint16) {
		data := bytes.Repeat(seed, 1+(1<<15)/(len(seed)+1))
		from = uint16(min(int(from), len(data)))
		to := min(int(from)+int(size), len(data))
		check(t, data, int(from), to, int(piece)+1)
	})
}

func BenchmarkHash(b *testing.B) {
	data := make([]byte, 256<<10)
	one, two, apart := sha256.New(), New(), [2]digest{{Hash: sha256.New()}, {Hash: sha256.New()}}
	two.Begin()
	for name, write := range map[string]func(){
		"one digest":   func() { one.Write(data) },
		"both at once": func() { _, _ = two.Write(data) },
		"both in turn": func() { _, _ = apart[0].take(data); _, _ = apart[1].take(data) },
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				write()
			}
		})
	}
}
