//go:build linux

package bootdir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Names in the boot directory and in the state directory.
const (
	stateName   = ".nbextract"
	lockName    = "lock"
	journalName = "journal"
	stageName   = "stage"
	keptName    = "kept"
	imagesName  = "images"
	treesName   = "trees"
)

// Dir is an open boot directory. It is used by one goroutine; the stages it
// gives may create files from several.
type Dir struct {
	path    string
	opts    Options
	ops     *fsOps
	root    *dirFD // the boot directory; nil when View found none
	state   *dirFD // .nbextract; nil when View found none
	lock    int    // descriptor that holds the lock, -1 for View
	pending bool   // a journal waits for recovery

	madeDirs  []string // the boot directory and those above it that Open made, outermost first
	madeState bool     // Open made the state directory

	images   map[string]*Image
	trees    map[string]*Tree // records that were read, by their names
	contents contentIndex     // where a content is recorded, made when first needed

	partialMu sync.Mutex
	inUse     map[string]bool // partial downloads that are open, by name
}

// Open opens the boot directory for writing: it makes it when it is missing,
// takes the lock without waiting (*LockedError), completes or undoes what a
// run that was cut off has left, and removes its rubbish.
func Open(ctx context.Context, dir string, o Options) (*Dir, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d := newDir(dir, o)
	if err := d.openForWriting(); err != nil {
		d.Close()
		return nil, fmt.Errorf("open boot directory %q: %w", dir, err)
	}
	if err := d.acquire(); err != nil {
		d.Close()
		return nil, err
	}
	if err := d.tidy(); err != nil {
		d.Close()
		return nil, fmt.Errorf("recover boot directory %q: %w", dir, err)
	}
	return d, nil
}

// View opens the boot directory for looking: no lock is taken and nothing is
// changed. A directory that does not exist is an empty one.
func View(dir string) (*Dir, error) {
	d := newDir(dir, Options{})
	root, err := openRoot(dir)
	if isMissing(err) {
		return d, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open boot directory: %w", err)
	}
	d.root = root
	d.state, err = root.open(stateName)
	if isMissing(err) {
		return d, nil
	}
	if err == nil {
		err = checkState(d.state)
	}
	if err == nil {
		_, err = d.state.stat(journalName)
		d.pending = err == nil
		if isMissing(err) {
			err = nil
		}
	}
	if err != nil {
		d.Close()
		return nil, fmt.Errorf("open boot directory %q: %w", dir, err)
	}
	return d, nil
}

func newDir(dir string, o Options) *Dir {
	if o.Keep == 0 {
		o.Keep = DefaultKeep
	}
	if o.Grace == 0 {
		o.Grace = DefaultGrace
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	return &Dir{path: dir, opts: o, ops: &fsOps{hook: o.hook}, lock: -1, images: map[string]*Image{}, trees: map[string]*Tree{}, inUse: map[string]bool{}}
}

// Close gives up the lock. Where Open made the boot directory or its state
// directory and no tree came into it, it removes them again; else it changes
// nothing on disk.
func (d *Dir) Close() error {
	d.leaveNoTrace()
	d.root.close()
	d.state.close()
	if d.lock >= 0 {
		unlock(d.lock)
	}
	d.root, d.state, d.lock = nil, nil, -1
	return nil
}

// Path gives the name that the directory was opened by.
func (d *Dir) Path() string { return d.path }

// Pending tells that a commit was cut off and waits for the next Open; what
// the records say may not yet be what is live.
func (d *Dir) Pending() bool { return d.pending }

func (d *Dir) openForWriting() (err error) {
	if err := d.makeRoot(d.path); err != nil {
		return err
	}
	if d.root, err = openRoot(d.path); err != nil {
		return err
	}
	return d.openState()
}

// makeRoot makes the boot directory and what is missing above it, mode 0755
// whatever the umask: boot servers run as another user.
func (d *Dir) makeRoot(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if up := filepath.Dir(dir); up != dir {
		if err := d.makeRoot(up); err != nil {
			return err
		}
	}
	err := d.ops.do("mkdir", dir, func() error { return unix.Mkdir(dir, 0o755) })
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err == nil {
		d.madeDirs = append(d.madeDirs, dir)
	}
	return d.ops.do("chmod", dir, func() error { return unix.Chmod(dir, 0o755) })
}

// openRoot opens the boot directory, through symbolic links if need be: the
// administrator names it, no image does.
func openRoot(dir string) (*dirFD, error) {
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	return &dirFD{fd, "."}, nil
}

// openState opens the state directory, and makes it when missing.
func (d *Dir) openState() error {
	made := false
	_, err := d.root.stat(stateName)
	if isMissing(err) {
		// Exclusively: what another has put there meanwhile is looked at below.
		err = d.ops.mkdir(d.root, stateName, 0o700)
		made = err == nil
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if d.state, err = d.root.open(stateName); err != nil {
		if st, serr := d.root.stat(stateName); serr == nil && !isDir(st) {
			return withHint(fmt.Errorf("%q is not a directory", stateName),
				"nbextract keeps its own records there; move away what has the name")
		}
		return err
	}
	if err := checkState(d.state); err != nil {
		return err
	}
	if d.madeState = made; made {
		// What is staged here must not inherit a default ACL of the boot
		// directory: modes are exact.
		for _, attr := range []string{"system.posix_acl_default", "system.posix_acl_access"} {
			if err := d.dropAttr(d.state, attr); err != nil {
				return err
			}
		}
		return d.ops.fsync(d.root.fd, d.root.path)
	}
	return nil
}

func (d *Dir) dropAttr(at *dirFD, attr string) error {
	if n, err := unix.Fgetxattr(at.fd, attr, nil); err != nil || n == 0 {
		return nil
	}
	return d.ops.removexattr(at.fd, at.path, attr)
}

// checkState refuses a state directory that somebody else made or can write.
func checkState(state *dirFD) error {
	st, err := state.self()
	if err != nil {
		return err
	}
	if int(st.Uid) != os.Geteuid() {
		return withHint(fmt.Errorf("%q belongs to user %d, not to this user", stateName, st.Uid),
			"run nbextract as the user who made the boot directory")
	}
	if perm(st)&0o022 != 0 {
		return withHint(fmt.Errorf("%q can be written by others (mode %04o)", stateName, perm(st)),
			"its content cannot be trusted; look at it, then chmod 700")
	}
	return nil
}

// acquire takes the lock or says who may have it.
func (d *Dir) acquire() error {
	fd, err := unix.Openat(d.state.fd, lockName,
		unix.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		err = d.ops.do("create", d.state.join(lockName), func() error {
			fd, err = unix.Openat(d.state.fd, lockName,
				unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("open lock of boot directory %q: %w", d.path, err)
	}
	err = retry(func() error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
	if err == nil && d.lockIsCurrent(fd) {
		d.lock = fd
		return nil
	}
	unlock(fd)
	if err == nil || errors.Is(err, unix.EWOULDBLOCK) {
		return &LockedError{d.path}
	}
	return fmt.Errorf("lock boot directory %q: %w", d.path, err)
}

// unlock gives the lock up at once: a process that is just being started has
// the descriptor too, for a moment, and would hold the lock past the close.
func unlock(fd int) {
	_ = unix.Flock(fd, unix.LOCK_UN)
	_ = unix.Close(fd)
}

// needLock refuses changes through a View.
func (d *Dir) needLock() error {
	if d.lock < 0 {
		return fmt.Errorf("boot directory %q is open for looking only", d.path)
	}
	return nil
}

// Space refuses when the file system of the boot directory has not room for so
// many more bytes and inodes. Partial downloads that nobody uses now give way;
// those in use that are still to be written count among the bytes.
func (d *Dir) Space(bytes, inodes int64) error {
	if d.root == nil {
		return nil
	}
	return d.makeRoom(func() (int64, error) { return d.room(bytes, inodes) })
}

// room compares what is needed with what is free, and tells how many bytes are
// missing.
func (d *Dir) room(bytes, inodes int64) (missing int64, err error) {
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Fstatfs(d.root.fd, &st) }); err != nil {
		return 0, fmt.Errorf("look at free space of %q: %w", d.path, err)
	}
	block := max(int64(st.Bsize), 1)
	// Every file ends in a block of its own.
	if need := bytes/block + inodes + 1; need > int64(st.Bavail) {
		return (need - int64(st.Bavail)) * block, withHint(fmt.Errorf("boot directory %q has room for %d bytes, %d are needed: %w",
			d.path, int64(st.Bavail)*block, bytes, unix.ENOSPC), "free some space, or nbextract prune")
	}
	// File systems that make inodes as they go report none at all.
	if st.Files > 0 && inodes > int64(st.Ffree) {
		return 0, withHint(fmt.Errorf("boot directory %q has room for %d files, %d are needed: %w",
			d.path, st.Ffree, inodes, unix.ENOSPC), "free some inodes, or nbextract prune")
	}
	return 0, nil
}
