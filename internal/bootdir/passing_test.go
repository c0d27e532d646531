//go:build linux

package bootdir

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPassing reads large files that are in the page cache, and that are not: right
// to the last byte, and then they are where they were.
func TestPassing(t *testing.T) {
	content := make([]byte, 3*trailStretch+5)
	for i := range content {
		content[i] = byte(i >> 12)
	}
	name := filepath.Join(t.TempDir(), "f")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	fd := int(f.Fd())
	drop := func() { _ = unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED) }
	if drop(); !isCold(fd, trailStretch) {
		t.Skip("this file system does not tell what is in the page cache, or drops nothing")
	}
	sum := sha256.Sum256(content)
	want := hex.EncodeToString(sum[:])
	readers := map[string]func() (string, error){
		"hash": func() (string, error) {
			if _, err := unix.Seek(fd, 0, io.SeekStart); err != nil {
				return "", err
			}
			return hashFD(fd, name)
		},
		"read": func() (string, error) {
			p := open(t, name, false)
			defer p.Close()
			h := sha256.New()
			_, err := io.Copy(h, p)
			return hex.EncodeToString(h.Sum(nil)), err
		},
		"pieces": func() (string, error) {
			p := open(t, name, false)
			defer p.Close()
			h := sha256.New()
			_, err := io.Copy(h, io.NewSectionReader(p, 0, int64(len(content))))
			return hex.EncodeToString(h.Sum(nil)), err
		},
	}
	// The system may need memory for something else, or still be reading what it is told
	// to drop, but hardly each time.
	some := func(how, what string, try func() bool) {
		t.Helper()
		for range 20 {
			if try() {
				return
			}
		}
		t.Errorf("%s: %s", how, what)
	}
	for how, read := range readers {
		some(how, "what was not in the page cache is there now", func() bool {
			drop()
			if got, err := read(); err != nil || got != want {
				t.Errorf("%s: %s, %v", how, got, err)
			}
			return isCold(fd, 0) && isCold(fd, trailStretch)
		})
		some(how, "what was in the page cache is not there any more", func() bool {
			if _, err := io.Copy(io.Discard, io.NewSectionReader(f, 0, int64(len(content)))); err != nil {
				t.Fatal(err)
			}
			if got, err := read(); err != nil || got != want {
				t.Errorf("%s: %s, %v", how, got, err)
			}
			return !isCold(fd, 0) && !isCold(fd, trailStretch)
		})
	}
	some("fresh", "what nobody else has read stays in the page cache", func() bool {
		p := open(t, name, true)
		defer p.Close()
		_, err := io.Copy(io.Discard, p)
		return err == nil && isCold(fd, 0)
	})
}

func open(t *testing.T, name string, fresh bool) *passing {
	t.Helper()
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return newPassing(fd, name, fresh)
}
