package archive

import (
	"io"
	"os"
	"syscall"
	"testing"
	"time"

	"go.podman.io/storage/pkg/chunked/compressor"
)

// BenchmarkChunked compares our writer of zstd:chunked with the one of
// containers/storage. NBPACK_BENCH_FILE names a file to pack; by default it is 64 MiB
// that do not compress. Besides the time it tells the time of all cores together.
func BenchmarkChunked(b *testing.B) {
	var tarFile []byte
	if name := os.Getenv("NBPACK_BENCH_FILE"); name != "" {
		content, err := os.ReadFile(name)
		if err != nil {
			b.Fatal(err)
		}
		tarFile = tarOf(b, content)
	} else {
		tarFile = tarOf(b, random(64<<20))
	}
	for name, write := range map[string]func() (io.WriteCloser, error){
		"own": func() (io.WriteCloser, error) {
			l, err := NewLayerWriter(io.Discard, ZstdChunked, WithPayloadSize(int64(len(tarFile))))
			return writeCloser{l}, err
		},
		"storage": func() (io.WriteCloser, error) {
			return compressor.ZstdCompressor(io.Discard, map[string]string{}, nil)
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(tarFile)))
			before := cpuTime(b)
			for b.Loop() {
				w, err := write()
				if err != nil {
					b.Fatal(err)
				}
				for rest := tarFile; len(rest) > 0; {
					n := min(len(rest), 128<<10)
					if _, err := w.Write(rest[:n]); err != nil {
						b.Fatal(err)
					}
					rest = rest[n:]
				}
				if err := w.Close(); err != nil {
					b.Fatal(err)
				}
			}
			cpu := cpuTime(b) - before
			b.ReportMetric(float64(cpu.Nanoseconds())/float64(b.N)/float64(len(tarFile)), "cpu-ns/B")
		})
	}
}

type writeCloser struct{ *LayerWriter }

func (w writeCloser) Close() error {
	_, _, err := w.LayerWriter.Close()
	return err
}

// cpuTime is what all threads of the process have taken so far.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
