//go:build linux && containers_image_openpgp && (!cgo || exclude_graphdriver_btrfs)

package transport

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"go.podman.io/storage"
	storagetypes "go.podman.io/storage/types"

	"github.com/nbpack/nbpack/internal/ocilayout"
)

// storagePool holds the stores that a client has opened, each once: the
// library keeps what it opened until the process ends.
type storagePool struct {
	mu     sync.Mutex
	stores map[string]*imageStore // by the text between the brackets
}

// imageStore is one container store, opened for reading only. The library would
// open a store for writing, create what is missing in it and tidy it up. So it
// is given an empty store of our own, in a directory that is removed again, to
// which the one that is meant is an additional image store: those it reads
// under shared locks and never changes. Nothing is ever mounted either, so no
// privileges are needed beyond those to read the files.
type imageStore struct {
	storage.Store
	work  *ocilayout.StageDir // our own empty store, and copies of layers
	ready chan struct{}       // closed once Store or err is set
	err   error
}

// open gives the store that a reference names. It is opened once; whoever
// comes meanwhile waits, or leaves when its context ends.
func (p *storagePool) open(ctx context.Context, c *Client, ref Reference) (*imageStore, error) {
	n, where, err := ref.storage()
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	s := p.stores[n.store]
	if s == nil {
		if s, err = c.startStore(ref, where); err != nil {
			p.mu.Unlock()
			return nil, err
		}
		if p.stores == nil {
			p.stores = map[string]*imageStore{}
		}
		p.stores[n.store] = s
	}
	p.mu.Unlock()
	select {
	case <-s.ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if s.err != nil {
		p.forget(n.store, s)
		return nil, s.err
	}
	return s, nil
}

// forget drops a store that could not be opened, so that it may be tried again.
func (p *storagePool) forget(name string, s *imageStore) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stores[name] == s {
		delete(p.stores, name)
		_ = s.work.Remove() // the error that is on its way matters more
	}
}

// close removes the directories of all stores.
func (p *storagePool) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, s := range p.stores {
		errs = append(errs, s.work.Remove())
	}
	p.stores = nil
	return errors.Join(errs...)
}

// startStore makes the directory of a store and opens it, without waiting: the
// library waits for podman's locks, and that no context can interrupt.
func (c *Client) startStore(ref Reference, where storageSpec) (*imageStore, error) {
	place, err := findStore(ref, where)
	if err != nil {
		return nil, err
	}
	work, err := ocilayout.NewStageDir(c.tempDir(), c.logf)
	if err != nil {
		return nil, fmt.Errorf("create a directory for copies of layers: %w", err)
	}
	s := &imageStore{work: work, ready: make(chan struct{})}
	go func() {
		defer close(s.ready)
		opened, err := storage.GetStore(place.private(work.Path))
		if err != nil {
			s.err = storageError(ref, err)
			return
		}
		s.Store = opened
	}()
	return s, nil
}

// storePlace is a store that is there.
type storePlace struct {
	driver  string
	roots   []string // of the store, and of its separate image store
	options []string // name further places
}

// findStore says where the store of a reference lies. Without one in brackets
// the library decides, by storage.conf, CONTAINERS_STORAGE_CONF, STORAGE_DRIVER
// and STORAGE_OPTS.
func findStore(ref Reference, where storageSpec) (*storePlace, error) {
	o := storage.StoreOptions{GraphRoot: where.root, GraphDriverName: where.driver, GraphDriverOptions: where.options}
	if where.root == "" {
		var err error
		if o, err = storagetypes.LoadStoreOptions(storagetypes.LoadOptions{}); err != nil {
			return nil, fmt.Errorf("read storage.conf: %w", err)
		}
	}
	p := &storePlace{driver: strings.TrimSuffix(o.GraphDriverName, "2"), roots: []string{o.GraphRoot}, options: o.GraphDriverOptions}
	if o.ImageStore != "" {
		p.roots = append(p.roots, o.ImageStore)
	}
	switch p.driver {
	case "overlay", "vfs":
		return p, p.check(ref)
	case "":
		return p, p.guessDriver(ref)
	}
	return nil, &storageDriverError{ref, p.driver}
}

// imagesLock is a file that every store has from its first use on.
func imagesLock(root, driver string) string {
	return filepath.Join(root, driver+"-images", "images.lock")
}

// check makes sure that the library will find a store, and make none.
func (p *storePlace) check(ref Reference) error {
	for _, root := range p.roots {
		if strings.Contains(root, ",") {
			return badRef("", "image reference %q: the path of a store cannot hold a comma", ref)
		}
		f, err := os.Open(imagesLock(root, p.driver))
		switch {
		case isNotExist(err):
			return &NotFoundError{Ref: ref.String(), What: fmt.Sprintf("image store %q of driver %q", root, p.driver)}
		case err != nil:
			return storageError(ref, err)
		}
		_ = f.Close() // it was only read
	}
	return nil
}

// guessDriver finds out which driver a store was made with.
func (p *storePlace) guessDriver(ref Reference) error {
	for _, driver := range []string{"overlay", "vfs"} {
		_, err := os.Stat(imagesLock(p.roots[0], driver))
		switch {
		case isNotExist(err):
		case err != nil:
			return storageError(ref, err)
		case p.driver != "":
			return badRef(fmt.Sprintf("write containers-storage:[overlay@%s]NAME", p.roots[0]),
				"store %q was used with several drivers", p.roots[0])
		default:
			p.driver = driver
		}
	}
	if p.driver == "" {
		return &NotFoundError{Ref: ref.String(), What: fmt.Sprintf("image store %q", p.roots[0])}
	}
	return p.check(ref)
}

// private gives the options of an empty store in dir that has this one, and
// those that this one adds, as additional image stores. A mount program keeps
// the overlay driver from trying what mounts the kernel would allow; this one
// cannot be run.
func (p *storePlace) private(dir string) storage.StoreOptions {
	o := storage.StoreOptions{
		GraphDriverName: p.driver,
		GraphRoot:       filepath.Join(dir, "root"),
		RunRoot:         filepath.Join(dir, "run"),
	}
	add := func(key, value string) {
		o.GraphDriverOptions = append(o.GraphDriverOptions, p.driver+"."+key+"="+value)
	}
	for _, root := range p.roots {
		add("imagestore", root)
	}
	for _, option := range p.options {
		key, value, _ := strings.Cut(option, "=")
		switch key = strings.TrimPrefix(key, p.driver+"."); {
		case key == "imagestore", key == "additionalimagestore":
			add("imagestore", value)
		case key == "additionallayerstore" && p.driver == "overlay":
			add(key, value)
		}
	}
	if p.driver == "overlay" {
		add("mount_program", dir)
		add("skip_mount_home", "true")
	}
	return o
}

// storageDriverError says that a driver's stores cannot be read this way.
type storageDriverError struct {
	ref    Reference
	driver string
}

func (e *storageDriverError) Error() string {
	return fmt.Sprintf("open %q: stores of the driver %q are not supported", e.ref, e.driver)
}
func (e *storageDriverError) Hint() string {
	return "copy the image to a layout: podman push NAME oci:DIR:NAME"
}

// storageError gives an error of the library its context, and advice where the
// files of the store may not be read.
func storageError(ref Reference, err error) error {
	err = fmt.Errorf("read %q: %w", ref, err)
	if errors.Is(err, fs.ErrPermission) {
		return &storageAccessError{err}
	}
	return err
}

// storageAccessError is a store, or files of it, that belong to others.
type storageAccessError struct{ error }

func (e *storageAccessError) Unwrap() error { return e.error }
func (e *storageAccessError) Hint() string {
	return "read the system's store as root, and that of a user as this user inside \"podman unshare\""
}

// await waits for a call into the library, but no longer than the context
// lasts. The library waits for podman's locks in system calls that nothing
// interrupts; a call that is left behind then ends when podman gives the lock
// back, or with the process, and drop gets its result.
func await[T any](ctx context.Context, call func() (T, error), drop func(T)) (T, error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result)
	go func() {
		var r result
		r.v, r.err = call()
		select {
		case done <- r:
		case <-ctx.Done():
			if r.err == nil && drop != nil {
				drop(r.v)
			}
		}
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}
