package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/mirrortree"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// flight is a blob that one goroutine looks after while others wait.
type flight struct {
	done chan struct{}
	size int64
	err  error
}

// once has f bring a blob or manifest, once for all images of a run. did: it was
// this call that did. Where f failed for another image, this one tries.
func (r *run) once(ctx context.Context, d ocispec.Descriptor, f func() error) (did bool, err error) {
	for {
		r.mu.Lock()
		other, ok := r.flights[d.Digest]
		if !ok {
			mine := &flight{done: make(chan struct{}), size: d.Size}
			r.flights[d.Digest] = mine
			r.mu.Unlock()
			if mine.err = f(); mine.err != nil {
				r.mu.Lock()
				delete(r.flights, d.Digest)
				r.mu.Unlock()
			}
			close(mine.done)
			return true, mine.err
		}
		r.mu.Unlock()
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-other.done:
		}
		switch {
		case other.err != nil:
		case other.size != d.Size:
			return false, spec.Refuse(spec.RuleSize, d.Digest.String(), "the blob has %d bytes, a descriptor says %d", other.size, d.Size)
		default:
			return false, nil
		}
	}
}

// blob brings a blob into the tree. true: it was not there before.
func (r *run) blob(ctx context.Context, src transport.Source, d ocispec.Descriptor) (fetched bool, err error) {
	if err := spec.CheckDescriptor(d); err != nil {
		return false, err
	}
	_, err = r.once(ctx, d, func() (err error) {
		fetched, err = r.bringBlob(ctx, src, d)
		return err
	})
	return fetched, err
}

func (r *run) bringBlob(ctx context.Context, src transport.Source, d ocispec.Descriptor) (fetched bool, err error) {
	there, err := r.holds(ctx, d)
	if there || err != nil {
		return false, err
	}
	r.missing.Add(d.Size)
	if r.opts.DryRun {
		return true, nil
	}
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case r.fetch <- struct{}{}:
	}
	defer func() { <-r.fetch }()
	return true, r.download(ctx, src, d)
}

// holds tells whether the tree has a blob. Where contents are to be judged, the
// one that is wrong counts as missing.
func (r *run) holds(ctx context.Context, d ocispec.Descriptor) (bool, error) {
	st, err := r.tree.lstat(mirrortree.Blob(d.Digest))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for blob %s: %w", d.Digest, err)
	}
	if !st.Mode().IsRegular() || st.Size() != d.Size {
		r.opts.Warn("blob %s in the mirror is damaged; it is fetched again", d.Digest)
		return false, nil
	}
	if !r.opts.Checksum {
		return true, nil
	}
	body, err := r.here.Blob(ctx, d)
	if err == nil {
		_, err = io.Copy(io.Discard, body)
		err = errors.Join(err, body.Close())
	}
	var wrong *spec.Refusal
	if errors.As(err, &wrong) {
		r.opts.Warn("blob %s in the mirror is damaged; it is fetched again", d.Digest)
		return false, nil
	}
	return err == nil, err
}

// download fetches a blob, from where an earlier run was cut off.
func (r *run) download(ctx context.Context, src transport.Source, d ocispec.Descriptor) error {
	name := path.Join(partialDir, d.Digest.Algorithm().String()+"-"+d.Digest.Encoded())
	f, err := r.tree.root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	err = receive(ctx, src, d, f, st.Size())
	var wrong *spec.Refusal
	if errors.As(err, &wrong) && st.Size() > 0 {
		err = receive(ctx, src, d, f, 0) // perhaps it was the beginning that is wrong
	}
	if errors.As(err, &wrong) {
		err = errors.Join(err, r.tree.remove(name))
	}
	if err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(0o444), f.Sync()); err != nil {
		return err
	}
	to := mirrortree.Blob(d.Digest)
	if err := r.tree.mkdir(path.Dir(to), &dirs{}); err != nil {
		return err
	}
	return r.tree.rename(name, to)
}

// receive completes a blob of which f has the beginning. All of it has gone
// through the hash when that ends without an error.
func receive(ctx context.Context, src transport.Source, d ocispec.Descriptor, f *os.File, have int64) (err error) {
	var body io.ReadCloser
	if _, ok := src.(transport.Resumer); ok && have > 0 && have <= d.Size {
		body, err = transport.Resume(ctx, src, d, io.NewSectionReader(f, 0, have))
	} else {
		have = 0
		body, err = src.Blob(ctx, d)
	}
	if err != nil {
		return err
	}
	if err = f.Truncate(have); err == nil {
		_, err = io.CopyN(io.Discard, body, have) // it is in the file
	}
	if err == nil {
		_, err = io.Copy(io.NewOffsetWriter(f, have), body)
	}
	return errors.Join(err, body.Close())
}

// storeManifest puts a verified manifest beside the blobs.
func (r *run) storeManifest(ctx context.Context, d ocispec.Descriptor, body []byte, dirty *dirs) error {
	d.Size = int64(len(body))
	_, err := r.once(ctx, d, func() error { return r.tree.put(mirrortree.Blob(d.Digest), body, 0o444, dirty) })
	return err
}
