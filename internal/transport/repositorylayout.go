package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/ocilayout"
)

// layoutStore is an OCI layout.
type layoutStore struct {
	c   *Client
	ref Reference

	turn    chan struct{} // holds one token: who has it may lock the layout
	putting sync.Mutex    // one Put at a time

	mu     sync.Mutex
	held   *ocilayout.Lock     // while Lock is in force
	stage  *ocilayout.StageDir // from the first write on
	files  int                 // how many were made in it
	staged map[digest.Digest]string
	relied map[digest.Digest]int64 // blobs of the layout that were not staged again
}

func newLayoutStore(c *Client, ref Reference) *layoutStore {
	l := &layoutStore{c: c, ref: ref, turn: make(chan struct{}, 1)}
	l.forget()
	return l
}

// forget begins with nothing staged.
func (l *layoutStore) forget() {
	l.staged, l.relied = map[digest.Digest]string{}, map[digest.Digest]int64{}
}

// at gives the reference of one image in the layout.
func (l *layoutStore) at(tag string, d digest.Digest) Reference {
	return Reference{Transport: OCI, Name: l.ref.Name, Tag: tag, Digest: d}
}

func (l *layoutStore) tags(ctx context.Context) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := ocilayout.OpenDir(l.ref.path())
	if isNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	idx, _, err := ocilayout.ReadIndex(f)
	if isNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return ocilayout.Names(idx), nil
}

func (l *layoutStore) get(ctx context.Context, tag string, d digest.Digest) (ocispec.Descriptor, []byte, error) {
	if err := ctx.Err(); err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	if body, err := l.stagedManifest(d); body != nil || err != nil {
		desc := ocispec.Descriptor{Digest: d, Size: int64(len(body))}
		if err == nil {
			desc.MediaType, err = manifestType(desc, "", body)
		}
		return desc, body, err
	}
	src, err := openLayout(l.at(tag, d))
	if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	defer src.Close()
	desc, err := src.Resolve(ctx)
	if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	body, mt, err := src.Manifest(ctx, desc)
	// The annotations of the entry, its name above all, are the layout's.
	return ocispec.Descriptor{MediaType: mt, Digest: desc.Digest, Size: int64(len(body))}, body, err
}

func (l *layoutStore) head(ctx context.Context, tag string, d digest.Digest) (ocispec.Descriptor, error) {
	desc, _, err := l.get(ctx, tag, d)
	return desc, err
}

func (l *layoutStore) blob(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	if name, ok := l.stagedFile(d.Digest); ok {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		return newVerifyReader(&ctxReader{ctx, f}, d), nil
	}
	src, err := openLayout(l.at("", d.Digest))
	if err != nil {
		return nil, err
	}
	r, err := src.Blob(ctx, d)
	// An open file does not need the directory that it was found by.
	return r, errors.Join(err, src.Close())
}

// put adds a manifest and what was staged before, under the lock.
func (l *layoutStore) put(ctx context.Context, tag string, d ocispec.Descriptor, body []byte, o PutOptions) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.putting.Lock()
	defer l.putting.Unlock()
	if err := l.write(d, func(w io.Writer) error { _, err := w.Write(body); return err }); err != nil {
		return err
	}
	release, err := l.locked(ctx)
	if err != nil {
		return err
	}
	defer release()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.stillThere(); err != nil {
		return err
	}
	err = ocilayout.Merge(ctx, l.ref.path(), l.stage.Path, maps.Clone(l.staged), func(index []byte) ([]byte, error) {
		if tag == "" {
			return index, nil
		}
		return replaceName(index, ocilayout.Entry(d, tag), o.IfMatch)
	})
	if err == nil {
		l.forget()
	}
	return err
}

// replaceName edits an index.json if the name has the digest was, or was is empty.
func replaceName(index []byte, entry ocispec.Descriptor, was digest.Digest) ([]byte, error) {
	idx, err := ocilayout.ParseIndex(index)
	if err != nil {
		return nil, err
	}
	at, err := ocilayout.FindEntry(idx, ocilayout.RefName(entry))
	if err != nil {
		return nil, err
	}
	if was != "" && (at < 0 || idx.Manifests[at].Digest != was) {
		return nil, ErrChanged
	}
	return ocilayout.SetEntry(index, entry)
}

// stillThere looks again for the blobs that were found and not staged: there
// are tools that remove what no index names yet.
func (l *layoutStore) stillThere() error {
	for d, size := range l.relied {
		st, err := os.Lstat(filepath.Join(l.ref.path(), filepath.FromSlash(ocilayout.BlobName(d))))
		if err != nil || !st.Mode().IsRegular() || st.Size() != size {
			return fmt.Errorf("blob %s was removed from the layout while it was needed", d)
		}
	}
	return nil
}

// lock implements Repository.Lock.
func (l *layoutStore) lock(ctx context.Context) (func(), error) {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	lock, err := ocilayout.Acquire(ctx, l.ref.path())
	if err != nil {
		<-l.turn
		return nil, err
	}
	l.setHeld(lock)
	return sync.OnceFunc(func() {
		l.mu.Lock()
		lock := l.held
		l.held = nil
		l.mu.Unlock()
		lock.Release()
		<-l.turn
	}), nil
}

func (l *layoutStore) setHeld(lock *ocilayout.Lock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = lock
}

// locked makes sure of the lock for one Put: the one that is held, or one of
// its own.
func (l *layoutStore) locked(ctx context.Context) (release func(), err error) {
	l.mu.Lock()
	held := l.held
	l.mu.Unlock()
	if held == nil {
		return l.lock(ctx)
	}
	if held.Valid() {
		return func() {}, nil
	}
	// Somebody who does not ask for locks put another layout in the place of
	// the one that is locked.
	lock, err := ocilayout.Acquire(ctx, l.ref.path())
	if err != nil {
		return nil, err
	}
	held.Release()
	l.setHeld(lock)
	return nil, ErrChanged
}

func (l *layoutStore) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stage == nil {
		return nil
	}
	err := l.stage.Remove()
	l.stage = nil
	if err != nil {
		return fmt.Errorf("remove the stage of %q: %w", l.ref, err)
	}
	return nil
}
