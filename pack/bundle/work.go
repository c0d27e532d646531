package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// work is the hidden directory in which what is new to a bundle gathers. Whole
// blobs lie in it as in a layout, those on their way as part-ALGORITHM-HEX. A run
// that is ended leaves it, and the next one goes on with it: what lies there is
// hashed again before it counts.
type work struct {
	dir string
	src transport.Source // reads the whole blobs, verifying
	// found tells that an earlier run left something.
	found bool
	// What was fetched now.
	fetched, fetchedBytes atomic.Int64
}

// partPrefix begins the names of blobs that are not whole.
const partPrefix = "part-"

func openWork(ctx context.Context, c *transport.Client, dir string) (*work, error) {
	_, err := os.Lstat(filepath.Join(dir, ocispec.ImageBlobsDir))
	found := err == nil
	if err := os.MkdirAll(filepath.Join(dir, ocispec.ImageBlobsDir), 0o777); err != nil {
		return nil, fmt.Errorf("create the directory for what is fetched: %w", err)
	}
	// Only what is named by digest is read from it.
	src, err := c.Source(ctx, transport.Reference{Transport: transport.OCI, Name: dir})
	if err != nil {
		return nil, err
	}
	return &work{dir: dir, src: src, found: found}, nil
}

func (w *work) path(d digest.Digest) string {
	return filepath.Join(w.dir, ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

func (w *work) has(d digest.Digest) bool {
	_, err := os.Lstat(w.path(d))
	return err == nil
}

// put stores a document.
func (w *work) put(d digest.Digest, body []byte) error {
	part, err := os.CreateTemp(w.dir, "document-*")
	if err != nil {
		return fmt.Errorf("store %s: %w", d, err)
	}
	_, err = part.Write(body)
	return w.finish(part, d, err)
}

// finish gives a part that is whole its name, if err is nil. What has the name
// also has the content on the disk.
func (w *work) finish(part *os.File, d digest.Digest, err error) error {
	if err == nil {
		err = part.Sync()
	}
	if err = errors.Join(err, part.Close()); err != nil {
		return fmt.Errorf("store %s: %w", d, err)
	}
	if err := os.MkdirAll(filepath.Dir(w.path(d)), 0o777); err != nil {
		return fmt.Errorf("store %s: %w", d, err)
	}
	if err := os.Rename(part.Name(), w.path(d)); err != nil {
		return fmt.Errorf("store %s: %w", d, err)
	}
	return nil
}

// fetch brings a blob from src, unless an earlier run did.
func (w *work) fetch(ctx context.Context, src transport.Source, d ocispec.Descriptor) error {
	if w.has(d.Digest) {
		err := readThrough(ctx, w.src, d)
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
	}
	resumed, err := w.download(ctx, src, d)
	if resumed && isRefusal(err) && ctx.Err() == nil {
		// What was kept may be no beginning of it.
		_, err = w.download(ctx, src, d)
	}
	if err == nil {
		w.fetched.Add(1)
		w.fetchedBytes.Add(d.Size)
	}
	return err
}

// download fetches a blob, or what is missing of it, and tells whether there was a
// beginning. Of content that is refused nothing is kept.
func (w *work) download(ctx context.Context, src transport.Source, d ocispec.Descriptor) (resumed bool, err error) {
	name := filepath.Join(w.dir, partPrefix+d.Digest.Algorithm().String()+"-"+d.Digest.Encoded())
	part, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return false, fmt.Errorf("store %s: %w", d.Digest, err)
	}
	have, err := beginning(part, src, d)
	if err == nil {
		err = appendBlob(ctx, part, have, src, d)
	}
	if err == nil {
		return have > 0, w.finish(part, d.Digest, nil)
	}
	_ = part.Close() // the failure before counts
	if isRefusal(err) {
		_ = os.Remove(name) // else the next run refuses it again
	}
	return have > 0, err
}

// beginning tells how much of a part can be used, and cuts the part off there.
func beginning(part *os.File, src transport.Source, d ocispec.Descriptor) (int64, error) {
	st, err := part.Stat()
	if err != nil {
		return 0, err
	}
	have := st.Size()
	if _, ok := src.(transport.Resumer); !ok || have > d.Size {
		have = 0
	}
	return have, part.Truncate(have)
}

// appendBlob writes what a part lacks. The stream begins with what it has, which
// is hashed with the rest.
func appendBlob(ctx context.Context, part *os.File, have int64, src transport.Source, d ocispec.Descriptor) (err error) {
	var blob io.ReadCloser
	if have > 0 {
		blob, err = transport.Resume(ctx, src, d, io.NewSectionReader(part, 0, have))
	} else {
		blob, err = src.Blob(ctx, d)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, blob.Close()) }()
	if _, err := io.CopyN(io.Discard, blob, have); err != nil {
		return err
	}
	if _, err := part.Seek(have, io.SeekStart); err != nil {
		return err
	}
	_, err = io.Copy(part, blob)
	return err
}

// close ends the reading. What a run leaves that failed is only worth to be kept if
// it has, at least in part, a blob.
func (w *work) close() {
	_ = w.src.Close() // only read from
	parts, _ := filepath.Glob(filepath.Join(w.dir, partPrefix+"*"))
	if !w.found && w.fetched.Load() == 0 && len(parts) == 0 {
		_ = w.remove() // the failure that led here counts
	}
}

// remove removes the directory, when all that it held has its place.
func (w *work) remove() error {
	if err := os.RemoveAll(w.dir); err != nil {
		return fmt.Errorf("remove what is left of the work: %w", err)
	}
	return nil
}

// readThrough proves a blob.
func readThrough(ctx context.Context, src content, d ocispec.Descriptor) error {
	blob, err := src.Blob(ctx, d)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, blob)
	return errors.Join(err, blob.Close())
}

func isRefusal(err error) bool {
	var refusal *spec.Refusal
	return errors.As(err, &refusal)
}

func isAbsent(err error) bool {
	var absent *transport.NotFoundError
	return errors.As(err, &absent)
}
