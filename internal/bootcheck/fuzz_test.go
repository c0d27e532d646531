package bootcheck

import (
	"bufio"
	"bytes"
	"io"
	"testing"
)

// FuzzProbe reads hostile files: parsers of headers, SBAT, kernels and archives
// must come to an end, and what they report must be bounded.
func FuzzProbe(f *testing.F) {
	plain := cpio(modules)
	levels := shimFile()
	levels.levels = "sbat,1,1\nshim,9\n"
	for _, b := range [][]byte{
		shimFile().bytes(), levels.bytes(), bzImage("6.1"), imageFile("6.1"), elfFile(21, "Linux version 6.1 "),
		zboot(0xaa64, gzipped(imageFile("6.1"))), plain, gzipped(plain), zstded(plain), xzed(f, 1<<16, plain), lz4ed(plain),
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, v := range findings(t, goodOptions(), set{"initrd.efi": b}) {
			if len(v.Message) > 64<<10 {
				t.Errorf("%s: %d bytes of text", v.Rule, len(v.Message))
			}
		}
	})
}

// FuzzPE holds that headers never lead out of the file's beginning.
func FuzzPE(f *testing.F) {
	f.Add(shimFile().bytes()[:1024])
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := parsePE(b); err == nil && (p.sbat.size > maxSection || len(p.unnamed) > maxUnnamed) {
			t.Errorf("%+v", p)
		}
		parseKernel(b)
	})
}

// FuzzSBAT holds that what is read is bounded and can be shown.
func FuzzSBAT(f *testing.F) {
	f.Add([]byte(shimFile().sbat))
	f.Fuzz(func(t *testing.T, b []byte) {
		g := parseSBAT(b)
		for name, n := range g {
			if !componentName(name) || n < 1 {
				t.Errorf("%q %d", name, n)
			}
		}
		parseLevels(b)
		if len(g) > maxComponents {
			t.Errorf("%d components", len(g))
		}
	})
}

// FuzzCPIO reads archives.
func FuzzCPIO(f *testing.F) {
	f.Add(cpio(modules))
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = readCPIO(bufio.NewReader(bytes.NewReader(b)), func(name string) {
			if v := moduleVersion(name); len(v) > maxVersion {
				t.Errorf("%q", v)
			}
		})
	})
}

// FuzzLZ4 unpacks hostile blocks, and good ones to what they were.
func FuzzLZ4(f *testing.F) {
	f.Add(lz4ed(cpio(modules)))
	f.Add([]byte("\x1fa\x01\x00\x05\x10b"))
	f.Fuzz(func(t *testing.T, b []byte) {
		dst := make([]byte, 1<<16)
		if n, err := unpackLZ4(dst, b); err == nil && n > len(dst) {
			t.Error(n)
		}
		if len(b) < 15 {
			return
		}
		got, err := io.ReadAll(&lz4Reader{r: bufio.NewReader(bytes.NewReader(lz4ed(b)))})
		if err != nil || !bytes.Equal(got, b) {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

// FuzzFrame holds that a zstd frame ends where it ends.
func FuzzFrame(f *testing.F) {
	f.Add([]byte("text"), []byte("behind"))
	f.Fuzz(func(t *testing.T, b, behind []byte) {
		_, _ = io.Copy(io.Discard, newFrameReader(bytes.NewReader(b)))
		frame := zstded(b)
		r := bytes.NewReader(join(frame, behind))
		got, err := io.ReadAll(newFrameReader(r))
		if rest := r.Len(); err != nil || !bytes.Equal(got, frame) || rest != len(behind) {
			t.Errorf("%d of %d bytes, %d behind of %d, %v", len(got), len(frame), rest, len(behind), err)
		}
	})
}
