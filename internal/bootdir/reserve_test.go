//go:build linux

package bootdir

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// reserving begins a file of size bytes in a stage whose steps it counts by name; those
// of fail are refused.
func reserving(t *testing.T, size int64, fail error) (f *File, shown string, count map[string]int) {
	t.Helper()
	dir := t.TempDir()
	count = map[string]int{}
	d := openTest(t, dir, Options{hook: func(op, _ string) error {
		count[op]++
		if op == "fallocate" {
			return fail
		}
		return nil
	}})
	s, err := d.Begin(context.Background(), live)
	must(t, err)
	t.Cleanup(s.Discard)
	f, err = s.Create("big", size)
	must(t, err)
	t.Cleanup(f.Abort)
	return f, filepath.Join(dir, f.up.join(f.name)), count
}

func fileSize(t *testing.T, name string) int64 {
	t.Helper()
	st, err := os.Stat(name)
	must(t, err)
	return st.Size()
}

// TestReserve: space is asked for in stretches, for a file of known size that is large,
// and what the file system says to that changes nothing.
func TestReserve(t *testing.T) {
	const large = reserveStretch + 5<<20 + 7
	space, _ := reserves(t)
	for name, c := range map[string]struct {
		size, declared int64
		fail           error
		asked          int
	}{
		"two stretches":  {large, large, nil, 2},
		"refused":        {large, large, unix.EOPNOTSUPP, 1},
		"no space":       {large, large, unix.ENOSPC, 1},
		"one stretch":    {largeFrom, largeFrom, nil, 1},
		"small":          {largeFrom - 1, largeFrom - 1, nil, 0},
		"size not known": {large, -1, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			f, shown, count := reserving(t, c.declared, c.fail)
			content := bytes.Repeat([]byte("boot"), int(c.size+3)/4)[:c.size]
			_, err := f.Write(content)
			must(t, err)
			sum := sha256.Sum256(content)
			must(t, f.Close(hex.EncodeToString(sum[:])))
			asked := c.asked
			if !space {
				asked = min(asked, 1)
			}
			if count["fallocate"] != asked {
				t.Errorf("space was asked for %d times, want %d", count["fallocate"], asked)
			}
			if got := fileSize(t, shown); got != c.size {
				t.Errorf("the file has %d bytes, want %d", got, c.size)
			}
		})
	}
}

// reserves tells whether the file system of the tests sets space aside, and whether it
// knows then what was not written.
func reserves(t *testing.T) (space, known bool) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "probe"))
	must(t, err)
	defer f.Close()
	fd := int(f.Fd())
	if err := unix.Fallocate(fd, 0, 0, largeFrom); err != nil {
		t.Logf("no fallocate here: %v", err)
		return false, false
	}
	end, err := unix.Seek(fd, 0, unix.SEEK_HOLE)
	return true, err == nil && end == 0
}

// TestReserveTrustsNoSize: what an image says that a file will have takes no space before
// it comes, but for a stretch; and an interrupted file ends where its content ends.
func TestReserveTrustsNoSize(t *testing.T) {
	f, shown, count := reserving(t, 1<<50, nil)
	_, err := f.Write(make([]byte, largeFrom+7))
	must(t, err)
	must(t, f.flush())
	want := int64(reserveStretch)
	if space, _ := reserves(t); !space {
		want = largeFrom + 7
	}
	if got := fileSize(t, shown); got != want || count["fallocate"] != 1 {
		t.Errorf("%d bytes are set aside, in %d steps", got, count["fallocate"])
	}
	f.Suspend()
	if got := fileSize(t, shown); got != largeFrom+7 {
		t.Errorf("the interrupted file has %d bytes, want %d", got, largeFrom+7)
	}
}

// TestReserveKilled: of a file that a kill has torn the next run keeps what was
// written, and so a run that was killed soon does not take the place of a longer one.
func TestReserveKilled(t *testing.T) {
	dir := t.TempDir()
	if _, known := reserves(t); !known {
		t.Skip("the file system does not know what was written")
	}
	for _, written := range []int64{largeFrom + 1<<20, 1 << 20} {
		killed := false
		d := openTest(t, dir, Options{hook: func(string, string) error {
			if killed {
				return errKilled
			}
			return nil
		}})
		s, err := d.Begin(context.Background(), live)
		must(t, err)
		f, err := s.Create("big", 1<<30)
		must(t, err)
		_, err = f.Write(bytes.Repeat([]byte("boot"), int(written)/4))
		must(t, err)
		f.large.Stop() // every block is written
		killed = true
		f.Abort()
		s.Discard()
		must(t, d.Close())
	}
	d := openTest(t, dir, Options{})
	s, err := d.Begin(context.Background(), live)
	must(t, err)
	defer s.Discard()
	left := s.Leftover("big")
	if left == nil {
		t.Fatal("nothing is left")
	}
	defer left.Close()
	if left.Size() != largeFrom+1<<20 {
		t.Errorf("%d bytes are left, want %d", left.Size(), largeFrom+1<<20)
	}
}
