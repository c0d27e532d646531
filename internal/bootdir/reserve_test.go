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
	dir := quickDir(t)
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
			if count["fallocate"] != c.asked {
				t.Errorf("space was asked for %d times, want %d", count["fallocate"], c.asked)
			}
			if got := fileSize(t, shown); got != c.size {
				t.Errorf("the file has %d bytes, want %d", got, c.size)
			}
		})
	}
}

// TestReserveTrustsNoSize: what an image says that a file will have takes no space before
// it comes, but for a stretch; and an interrupted file ends where its content ends.
func TestReserveTrustsNoSize(t *testing.T) {
	f, shown, count := reserving(t, 1<<50, nil)
	_, err := f.Write(make([]byte, largeFrom+7))
	must(t, err)
	must(t, f.flush())
	if got := fileSize(t, shown); got != reserveStretch || count["fallocate"] != 1 {
		t.Errorf("%d bytes are set aside, in %d steps", got, count["fallocate"])
	}
	f.Suspend()
	if got := fileSize(t, shown); got != largeFrom+7 {
		t.Errorf("the interrupted file has %d bytes, want %d", got, largeFrom+7)
	}
}
