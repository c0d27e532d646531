//go:build linux

package bootdir

import (
	"golang.org/x/sys/unix"

	"github.com/nbpack/nbpack/internal/directio"
)

// trailStretch is how many bytes of a file are brought to the disk and read back
// at once while the rest is written.
const trailStretch = 16 << 20

// trail reads a large file back while it is being written, one stretch behind: so
// neither the writing nor the reading has to wait for the other at the end. It reads past
// the page cache where it can, and drops each stretch from it. Behind a loose file, which
// its proof will read, it only does what the writer cannot where the file system has no
// direct writes: it brings the stretches to the disk and drops them.
//
// It has a descriptor of its own, so that an error of the disk which it sees is seen
// by the fsync of the writer, too. Whatever goes wrong here only ends the trail: the
// bytes that it did not read are read at the end.
type trail struct {
	fd    int
	ends  chan int64 // of stretches that are written
	ended chan struct{}
	loose bool
	read  *reread // the first done bytes; stays empty where the file is loose
	done  int64
}

// follow starts a trail behind a file.
func (f *File) follow() *trail {
	fd, st, err := f.up.openFile(f.name)
	if err != nil {
		return nil
	}
	var own unix.Stat_t
	if err := unix.Fstat(f.fd, &own); err != nil || !sameInode(&own, st) {
		_ = unix.Close(fd)
		return nil
	}
	// One stretch may wait: the writer is two ahead at most.
	t := &trail{fd: fd, ends: make(chan int64, 1), ended: make(chan struct{}), loose: f.loose, read: newReread(f.digested)}
	go t.run()
	return t
}

func (t *trail) run() {
	defer close(t.ended)
	const all = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER
	disk := directio.NewReader(t.fd, t.pread)
	broken := false
	for end := range t.ends {
		if broken {
			continue
		}
		from := t.done
		err := retry(func() error { return unix.SyncFileRange(t.fd, from, end-from, all) })
		if err == nil {
			_ = unix.Fadvise(t.fd, from, end-from, unix.FADV_DONTNEED)
			err = t.take(end, disk)
		}
		if err != nil {
			broken = true
		}
		_ = unix.Fadvise(t.fd, from, end-from, unix.FADV_DONTNEED)
	}
}

// take reads a stretch that is on the disk.
func (t *trail) take(end int64, disk *directio.Reader) error {
	if t.loose {
		t.done = end
		return nil
	}
	return disk.Each(t.done, end, func(p []byte) {
		_, _ = t.read.Write(p)
		t.done += int64(len(p))
	})
}

func (t *trail) pread(p []byte, at int64) (n int, err error) {
	err = retry(func() error { n, err = unix.Pread(t.fd, p, at); return err })
	return n, err
}

// wrote tells the trail how far the file is written.
func (f *File) wrote() {
	if f.put-f.shown < trailStretch {
		return
	}
	if f.trail == nil {
		f.trail = f.follow()
	}
	if f.trail != nil {
		f.trail.ends <- f.put
	}
	f.shown = f.put
}

// overtake ends the trail and gives what it has read back, which are the first so
// many bytes of the file; of a loose one, none.
func (f *File) overtake() (p *reread, read int64) {
	t := f.trail
	if t == nil {
		return newReread(f.digested), 0
	}
	f.trail = nil
	close(t.ends)
	<-t.ended
	_ = unix.Close(t.fd)
	if t.loose {
		return t.read, 0
	}
	return t.read, t.done
}
