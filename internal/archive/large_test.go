package archive

import (
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"
)

// TestWriterHeap packs one large file with every compression and looks at the live
// heap on the way. NBPACK_TEST_GIB sets the size of the file in GiB; the default
// is small, but the bound is the one that holds for 8 GiB.
func TestWriterHeap(t *testing.T) {
	size := int64(24 << 20)
	if gib, err := strconv.ParseInt(os.Getenv("NBPACK_TEST_GIB"), 10, 64); err == nil {
		size = gib << 30
	}
	const bound = 40 << 20
	content := map[string]func() io.Reader{
		"zeros":  func() io.Reader { return zeros{} },
		"random": func() io.Reader { return rand.NewChaCha8(sha256.Sum256(nil)) },
	}
	for _, c := range Compressions() {
		for name, open := range content {
			for hint, opts := range map[string][]LayerOption{"hint": {WithPayloadSize(size)}, "nohint": nil} {
				if hint == "nohint" && c != ZstdChunked {
					continue
				}
				t.Run(string(c)+"/"+name+"/"+hint, func(t *testing.T) {
					l, err := NewLayerWriter(io.Discard, c, opts...)
					if err != nil {
						t.Fatal(err)
					}
					tw := NewTarWriter(l, time.Time{})
					r := &heapMeter{r: open(), every: size / 16}
					if _, err := tw.File("image", size, io.LimitReader(r, size)); err != nil {
						t.Fatal(err)
					}
					r.measure()
					if err := tw.Close(); err != nil {
						t.Fatal(err)
					}
					desc, _, err := l.Close()
					if err != nil {
						t.Fatal(err)
					}
					r.measure()
					t.Logf("live heap %.1f MiB, heap with garbage %.1f MiB, blob %d, tables %v",
						float64(r.live)/(1<<20), float64(r.peak)/(1<<20), desc.Size, desc.Annotations[AnnotationTOCPosition])
					if r.live > bound {
						t.Errorf("live heap of %d bytes is over %d", r.live, bound)
					}
				})
			}
		}
	}
}

// heapMeter passes a stream on and measures the live heap now and then.
type heapMeter struct {
	r          io.Reader
	n, every   int64
	live, peak uint64
}

func (h *heapMeter) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	before := h.n / h.every
	h.n += int64(n)
	if h.n/h.every != before {
		h.measure()
	}
	return n, err
}

func (h *heapMeter) measure() {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	h.peak = max(h.peak, m.HeapAlloc)
	runtime.GC()
	runtime.ReadMemStats(&m)
	h.live = max(h.live, m.HeapAlloc)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
