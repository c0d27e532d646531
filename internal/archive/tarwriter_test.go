package archive

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// payload writes a small tree with one entry of every kind.
func payload(t testing.TB, w io.Writer, modTime time.Time) {
	t.Helper()
	tw := NewTarWriter(w, modTime)
	check := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	file := func(path string, content []byte) {
		sum, err := tw.File(path, int64(len(content)), bytes.NewReader(content))
		check(err)
		if want := sha256.Sum256(content); sum != hex.EncodeToString(want[:]) {
			t.Fatalf("File(%q) gives sum %s", path, sum)
		}
	}
	check(tw.Dir("efi"))
	check(tw.Dir("efi/boot"))
	file("efi/boot/empty", nil)
	file("efi/boot/grub.efi", pattern(300_000, 7))
	file("efi/boot/shim.efi", []byte("shim"))
	file("image", append(pattern(1<<20, 1), make([]byte, 1<<20)...))
	file("größe/"+strings.Repeat("long/", 40)+"name", []byte("needs PAX"))
	file("vmlinuz", pattern(512, 3))
	check(tw.Symlink("efi/boot/BOOT", "shim.efi"))
	check(tw.Close())
}

// pattern gives n bytes that look random and depend on seed alone.
func pattern(n int, seed uint64) []byte {
	b := make([]byte, n)
	for i := range b {
		seed = seed*6364136223846793005 + 1442695040888963407
		b[i] = byte(seed >> 56)
	}
	return b
}

// random is data that does not compress, always the same.
func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b) // never fails
	return b
}

// tarOf is a payload of one file.
func tarOf(t testing.TB, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewTarWriter(&b, time.Time{})
	if _, err := w.File("image", int64(len(content)), bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func payloadBytes(t testing.TB, modTime time.Time) []byte {
	t.Helper()
	var b bytes.Buffer
	payload(t, &b, modTime)
	return b.Bytes()
}

func TestTarWriterGolden(t *testing.T) {
	for _, test := range []struct {
		name string
		time time.Time
		want string
	}{
		{"epoch", time.Unix(0, 0), "e1283cadeeafef65ad682254a569f8b3130fe93a92eff83010a27f8aaedca740"},
		{"zero time", time.Time{}, "e1283cadeeafef65ad682254a569f8b3130fe93a92eff83010a27f8aaedca740"},
		{"zone and fraction", time.Unix(1700000000, 999).In(time.FixedZone("X", 3600)), "f0cb81b903fdfa27f6b5b2586ccab13ef0be7b48f642af077a574ae82cc4ae99"},
		{"whole second", time.Unix(1700000000, 0), "f0cb81b903fdfa27f6b5b2586ccab13ef0be7b48f642af077a574ae82cc4ae99"},
	} {
		t.Run(test.name, func(t *testing.T) {
			sum := sha256.Sum256(payloadBytes(t, test.time))
			if got := hex.EncodeToString(sum[:]); got != test.want {
				t.Errorf("digest of the tar is %s, want %s", got, test.want)
			}
		})
	}
}

func TestTarWriterHeaders(t *testing.T) {
	when := time.Unix(1700000000, 0)
	r := tar.NewReader(bytes.NewReader(payloadBytes(t, when)))
	want := map[byte]int64{tar.TypeReg: 0o444, tar.TypeDir: 0o755, tar.TypeSymlink: 0o777}
	var pax int
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Mode != want[h.Typeflag] || h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" || !h.ModTime.Equal(when) {
			t.Errorf("header of %q is %+v", h.Name, h)
		}
		if h.Format == tar.FormatPAX {
			pax++
			if len(h.PAXRecords) != 1 || h.PAXRecords["path"] == "" {
				t.Errorf("PAX records of %q: %v", h.Name, h.PAXRecords)
			}
		} else if h.Format != tar.FormatUSTAR {
			t.Errorf("format of %q is %v", h.Name, h.Format)
		}
	}
	if pax != 1 {
		t.Errorf("%d entries have PAX headers, want 1", pax)
	}
}

func TestTarWriterSourceChanged(t *testing.T) {
	for _, test := range []struct {
		name string
		size int64
		r    io.Reader
		want error
	}{
		{"shorter", 5, strings.NewReader("four"), ErrSourceChanged},
		{"longer", 3, strings.NewReader("four"), ErrSourceChanged},
		{"longer than nothing", 0, strings.NewReader("f"), ErrSourceChanged},
		{"end comes with the data", 4, iotest.DataErrReader(strings.NewReader("four")), nil},
		{"byte by byte", 4, iotest.OneByteReader(strings.NewReader("four")), nil},
		{"fails", 4, iotest.ErrReader(io.ErrNoProgress), io.ErrNoProgress},
		{"fails behind the content", 4, io.MultiReader(strings.NewReader("four"), iotest.ErrReader(io.ErrNoProgress)), io.ErrNoProgress},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := NewTarWriter(io.Discard, time.Time{}).File("boot/a\nb", test.size, test.r)
			if !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
				t.Fatalf("error is %v, want %v", err, test.want)
			}
			if err != nil && !strings.Contains(err.Error(), `"boot/a\nb"`) {
				t.Errorf("error %q does not quote the path", err)
			}
		})
	}
}

// TestTarWriterLargeFile looks at the header of a file that octal cannot count.
func TestTarWriterLargeFile(t *testing.T) {
	var b bytes.Buffer
	_, err := NewTarWriter(&b, time.Time{}).File("disk", 9<<30, strings.NewReader(""))
	if !errors.Is(err, ErrSourceChanged) {
		t.Fatal(err)
	}
	s := &tarScanner{r: &b}
	h, err := s.next()
	if err != nil {
		t.Fatal(err)
	}
	if h.Size != 9<<30 || h.Format != tar.FormatPAX {
		t.Errorf("size %d in format %v", h.Size, h.Format)
	}
}
