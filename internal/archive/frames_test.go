package archive

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/zstd"
)

// text is n bytes that compress as configuration and code do.
func text(n int) []byte {
	words := strings.Fields("shim grub vmlinuz initrd kernel module squashfs efi boot linux amd64 console=ttyS0 root=live quiet")
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%s %x ", words[(i*i+i/7)%len(words)], int64(i)*2654435761)
	}
	return b.Bytes()[:n]
}

// pieces are data of every kind that occurs, in pieces of many sizes.
func pieces() [][]byte {
	all := slices.Concat(random(200_000), text(300_000), make([]byte, 100_000), pattern(100_000, 7), text(100_000))
	var p [][]byte
	for n := 1; len(all) > 0; n = (n*5 + 3) % 60_000 {
		k := min(n, len(all))
		p = append(p, all[:k])
		all = all[k:]
	}
	return p
}

// TestFramesInOrder: frames arrive in order, with their digests, the same ones
// however many workers there are and whatever each of them did before.
func TestFramesInOrder(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	data := pieces()
	want := make([][]byte, len(data))
	for i, d := range data {
		level := zstd.SpeedBetterCompression
		if looksCompressed(d) {
			level = zstd.SpeedFastest
		}
		z, err := newZstdEncoder(nil, level, 64<<10, 1) // a new one for each
		if err != nil {
			t.Fatal(err)
		}
		want[i] = z.EncodeAll(d, nil)
	}
	for _, procs := range []int{1, 2, 7} {
		runtime.GOMAXPROCS(procs)
		var got [][]byte
		var marks []int
		w, err := newFrameWriter(64<<10, func(s frameStep) error {
			if s.entry != nil {
				marks = append(marks, len(got))
				return nil
			}
			if i := len(got); s.frame.content != (i%3 > 0) || s.frame.content && s.frame.sum != sha256.Sum256(data[i]) {
				t.Errorf("frame %d has another digest", i)
			}
			got = append(got, bytes.Clone(s.frame.out))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, d := range data {
			f, err := w.begin()
			if err != nil {
				t.Fatal(err)
			}
			f.data, f.content = append(f.data, d...), i%3 > 0
			w.send(f)
			if i%10 == 0 {
				w.mark(&tocEntry{})
			}
		}
		if err := w.close(); err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(got, want, bytes.Equal) {
			t.Errorf("%d processors make other frames", procs)
		}
		for i, at := range marks {
			if at != 10*i+1 {
				t.Errorf("mark %d is behind frame %d", i, at)
			}
		}
	}
}

// TestFramesError: the error of emit is the last call of it, stops who sends, and
// leaves no goroutine.
func TestFramesError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, bad := range []int{0, 1, 100, 2000} {
			calls := 0
			w, err := newFrameWriter(16<<10, func(frameStep) error {
				calls++
				if calls > bad {
					return io.ErrShortWrite
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			sent := 0
			for ; sent < 1500; sent++ {
				f, err := w.begin()
				if err != nil {
					if !errors.Is(err, io.ErrShortWrite) {
						t.Errorf("begin: %v", err)
					}
					break
				}
				f.data = append(f.data, "data"...)
				w.send(f)
			}
			err = w.close()
			if bad == 2000 {
				if err != nil || calls != 1500 {
					t.Errorf("%d calls, %v", calls, err)
				}
				continue
			}
			if !errors.Is(err, io.ErrShortWrite) || calls != bad+1 || sent == 1500 {
				t.Errorf("error at %d: %d calls, %d sent, %v", bad, calls, sent, err)
			}
		}
	})
}

func TestLooksCompressed(t *testing.T) {
	for name, data := range map[string][]byte{
		"random": random(64 << 10), "a little": random(4096), "much": random(4 << 20), "pattern": pattern(16<<10, 1),
	} {
		if !looksCompressed(data) {
			t.Errorf("%s does not look compressed", name)
		}
	}
	text := bytes.Repeat([]byte("the quick brown fox jumps over the lazy dog. "), 1000)
	half := append(random(32<<10), text[:32<<10]...)
	biased := random(64 << 10)
	for i := range biased {
		if i%16 == 0 {
			biased[i] = 0
		}
	}
	for name, data := range map[string][]byte{
		"nothing": nil, "too little": random(4095), "zeros": make([]byte, 64<<10), "text": text, "half": half, "biased": biased,
	} {
		if looksCompressed(data) {
			t.Errorf("%s looks compressed", name)
		}
	}
}

// TestChunkedReproducible varies processors and pieces over data of every kind.
func TestChunkedReproducible(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	data := tarOf(t, slices.Concat(pieces()...))
	want, _, _ := compress(t, ZstdChunked, data, len(data))
	for _, procs := range []int{1, 2, 7} {
		runtime.GOMAXPROCS(procs)
		got, desc, diffID := compress(t, ZstdChunked, data, 100_003)
		if !bytes.Equal(got, want) {
			t.Errorf("GOMAXPROCS %d makes another blob", procs)
		}
		if _, files, sum, err := readLayer(bytes.NewReader(got), desc); err != nil || sum != diffID || len(files) != 1 {
			t.Errorf("%s, %v", sum, err)
		}
	}
}

// TestFileSums: a TarWriter that tells digests makes the blob that the bytes alone
// make, also with more files than digests are on the way, and ends when it is left.
func TestFileSums(t *testing.T) {
	write := func(w io.Writer, files int) (*TarWriter, error) {
		tw := NewTarWriter(w, time.Time{})
		for i := range files {
			content := pattern(i%3*(i%7), uint64(i))
			if i%1000 == 999 {
				content = pattern(200_000, uint64(i))
			}
			if _, err := tw.File(fmt.Sprintf("f%05d", i), int64(len(content)), bytes.NewReader(content)); err != nil {
				return tw, err
			}
		}
		return tw, nil
	}
	const files = 5000
	var data, got bytes.Buffer
	tw, err := write(&data, files)
	if err != nil || tw.Close() != nil {
		t.Fatal(err)
	}
	want, wantDesc, _ := compress(t, ZstdChunked, data.Bytes(), 1<<20)
	l, err := NewLayerWriter(&got, ZstdChunked)
	if err != nil {
		t.Fatal(err)
	}
	if tw, err = write(l, files); err != nil || tw.Close() != nil {
		t.Fatal(err)
	}
	if desc, _, err := l.Close(); err != nil || desc.Digest != wantDesc.Digest || !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%v, want %v (%v)", desc, wantDesc, err)
	}
	synctest.Test(t, func(t *testing.T) {
		for _, n := range []int{0, 1, 10, 1500} {
			l, err := NewLayerWriter(io.Discard, ZstdChunked)
			if err != nil {
				t.Fatal(err)
			}
			tw, err := write(l, n)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tw.File("changed", 300_000, bytes.NewReader(pattern(300_001, 1))); !errors.Is(err, ErrSourceChanged) {
				t.Errorf("%v", err)
			}
			l.Abort()
		}
		broken, err := NewLayerWriter(writerFunc(func([]byte) error { return io.ErrShortWrite }), ZstdChunked)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := write(broken, 200_000); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("broken writer: %v", err)
		}
		broken.Abort()
	})
}
