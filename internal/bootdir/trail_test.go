//go:build linux

package bootdir

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// bigFile starts a file and writes enough for a trail, in pieces that are not its
// stretches.
func bigFile(t *testing.T, s *Stage) (f *File, sum string) {
	t.Helper()
	const pieces, size = 11, 5<<20 + 7
	f, err := s.Create("big", pieces*size)
	must(t, err)
	h := sha256.New()
	for i := range pieces {
		p := []byte(strings.Repeat(string(rune('a'+i)), size))
		h.Write(p)
		_, err := f.Write(p)
		must(t, err)
	}
	return f, hex.EncodeToString(h.Sum(nil))
}

func TestTrailReadsBack(t *testing.T) {
	d := openTest(t, t.TempDir(), Options{})
	s, err := d.Begin(context.Background(), live)
	must(t, err)
	defer s.Discard()
	f, _ := bigFile(t, s)
	must(t, f.flush())
	if f.trail == nil {
		t.Fatal("nothing follows a large file")
	}
	if err := unix.SyncFileRange(f.fd, 0, 0, 0); err != nil {
		t.Skipf("this file system has no sync_file_range: %v", err)
	}
	if _, read := f.overtake(); read < 2*trailStretch {
		t.Errorf("the trail has read %d bytes", read)
	}
	f.Abort()
	f, sum := bigFile(t, s)
	must(t, f.Close(sum))
}

// TestSeesOtherBytes: what the disk has is compared, not what was written, be the file
// read back by a trail or at its end.
func TestSeesOtherBytes(t *testing.T) {
	for name, size := range map[string]int{"small": 4096, "big": 2 * trailStretch} {
		t.Run(name+" by the sha256", func(t *testing.T) { testOtherBytes(t, name, size, false) })
		t.Run(name+" by a checksum", func(t *testing.T) { testOtherBytes(t, name, size, true) })
	}
}

func testOtherBytes(t *testing.T, base string, size int, digested bool) {
	dir := t.TempDir()
	d := openTest(t, dir, Options{})
	s, err := d.Begin(context.Background(), live)
	must(t, err)
	defer s.Discard()
	f, err := s.Create(base, int64(size))
	must(t, err)
	if digested {
		f.Digested()
	}
	_, err = f.Write(make([]byte, size/2-1))
	must(t, err)
	var name string
	must(t, filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if err == nil && e.Name() == base {
			name = p
		}
		return err
	}))
	other, err := os.OpenFile(name, os.O_WRONLY, 0)
	must(t, err)
	_, err = other.WriteAt([]byte{1}, 1147)
	must(t, err)
	must(t, other.Close())
	_, err = f.Write(make([]byte, size/2+1))
	must(t, err)
	must(t, f.flush())
	if (f.trail != nil) != (size >= trailStretch) {
		t.Fatalf("a trail follows a file of %d bytes: %v", size, f.trail != nil)
	}
	sum := sha256.Sum256(make([]byte, size))
	if err := f.Close(hex.EncodeToString(sum[:])); err == nil || !strings.Contains(err.Error(), "reads back") {
		t.Errorf("a file with another byte on the disk: %v", err)
	}
}

// TestTrailBreaks: what it could not read is read at the end.
func TestTrailBreaks(t *testing.T) {
	d := openTest(t, t.TempDir(), Options{})
	s, err := d.Begin(context.Background(), live)
	must(t, err)
	defer s.Discard()
	f, err := s.Create("big", trailStretch+3)
	must(t, err)
	zero := make([]byte, trailStretch+3)
	f.trail = f.follow()
	f.trail.ends <- int64(len(zero)) // longer than it is
	f.shown = int64(len(zero))
	_, err = f.Write(zero)
	must(t, err)
	sum := sha256.Sum256(zero)
	must(t, f.Close(hex.EncodeToString(sum[:])))
}

// TestWrongContent: a file that is not what it was to be does not stay, unless its
// writer answers for that.
func TestWrongContent(t *testing.T) {
	d := openTest(t, t.TempDir(), Options{})
	s, err := d.Begin(context.Background(), live)
	must(t, err)
	defer s.Discard()
	for name, size := range map[string]int{"empty": 0, "small": 3, "big": trailStretch + 3} {
		for _, digested := range []bool{false, true} {
			f, err := s.Create(name, int64(size))
			must(t, err)
			if digested {
				f.Digested()
			}
			_, err = f.Write(make([]byte, size))
			must(t, err)
			err = f.Close(strings.Repeat("ab", 32))
			if digested {
				must(t, err)
			} else if err == nil || !strings.Contains(err.Error(), "reads back") {
				t.Errorf("%s: %v", name, err)
			}
			if r, err := s.Open(name); (err == nil) != digested {
				t.Errorf("%s, digested %v: opening it gives %v", name, digested, err)
			} else if err == nil {
				must(t, r.Close())
			}
		}
	}
}

// TestTrailOfLooseFile: it reads nothing, and the file is whole.
func TestTrailOfLooseFile(t *testing.T) {
	d := openTest(t, t.TempDir(), Options{})
	s, err := d.Begin(context.Background(), live)
	must(t, err)
	defer s.Discard()
	data := make([]byte, 2*trailStretch+5)
	for i := range data {
		data[i] = byte(i >> 12)
	}
	f, err := s.CreateLoose("big", int64(len(data)))
	must(t, err)
	_, err = f.Write(data)
	must(t, err)
	must(t, f.flush())
	if f.trail == nil {
		t.Error("nothing follows a large file")
	}
	must(t, f.CloseLoose())
	r, err := s.Open("big")
	must(t, err)
	defer r.Close()
	got := sha256.New()
	_, err = io.Copy(got, r)
	must(t, err)
	if want := sha256.Sum256(data); !bytes.Equal(got.Sum(nil), want[:]) {
		t.Error("it holds something else")
	}
}
