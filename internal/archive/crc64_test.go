package archive

import (
	"hash/crc64"
	"math/rand/v2"
	"testing"

	"github.com/vbatts/tar-split/tar/storage"
)

func TestUpdateCRC(t *testing.T) {
	data := make([]byte, 5000)
	rng := rand.NewChaCha8([32]byte{1})
	_, _ = rng.Read(data)
	for n := range 300 {
		for _, from := range []int{0, 1, 7} {
			b := data[from : from+n]
			if got, want := updateCRC(0, b), crc64.Checksum(b, storage.CRCTable); got != want {
				t.Fatalf("%d bytes from %d: %x instead of %x", n, from, got, want)
			}
		}
	}
}

func FuzzUpdateCRC(f *testing.F) {
	f.Add(uint64(0), []byte("short"), uint16(2))
	f.Add(^uint64(0), make([]byte, 200), uint16(100))
	f.Fuzz(func(t *testing.T, crc uint64, b []byte, at uint16) {
		cut := min(int(at), len(b))
		want := crc64.Update(crc, storage.CRCTable, b)
		if got := updateCRC(updateCRC(crc, b[:cut]), b[cut:]); got != want {
			t.Errorf("%x instead of %x", got, want)
		}
	})
}

func BenchmarkUpdateCRC(b *testing.B) {
	data := make([]byte, 64<<10)
	rng := rand.NewChaCha8([32]byte{1})
	_, _ = rng.Read(data)
	for name, update := range map[string]func(uint64, []byte) uint64{
		"ours":       updateCRC,
		"hash/crc64": func(crc uint64, p []byte) uint64 { return crc64.Update(crc, storage.CRCTable, p) },
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			var crc uint64
			for b.Loop() {
				crc = update(crc, data)
			}
			if crc == 1 {
				b.Log("never")
			}
		})
	}
}
