package bundle

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/ocilayout"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// Since is what another side has, by digest.
type Since map[digest.Digest]bool

// ReadSince finds out what the other side has from what there is of it here: a
// bundle (oci:DIR, oci-archive:FILE, or a path), a list of digests, or the
// index.json of a bundle alone. Of that the images are looked up in their
// registries, by digest; what is gone there counts as missing on the other side,
// too, and log is told.
func ReadSince(ctx context.Context, c *transport.Client, name string, log func(format string, a ...any)) (Since, error) {
	since, err := readSince(ctx, c, name, log)
	if err != nil {
		return nil, fmt.Errorf("what the other side has, from %q: %w", name, err)
	}
	return since, nil
}

func readSince(ctx context.Context, c *transport.Client, name string, log func(format string, a ...any)) (Since, error) {
	if strings.HasPrefix(name, transport.OCI+":") || strings.HasPrefix(name, transport.OCIArchive+":") {
		ref, err := transport.ParseReference(name)
		if err != nil {
			return nil, err
		}
		return sinceBundle(ref)
	}
	st, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if st.IsDir() {
		return sinceBundle(transport.Reference{Transport: transport.OCI, Name: name})
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := bufio.NewReader(f)
	head, err := r.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case len(head) == 512 && bytes.HasPrefix(head[257:], []byte("ustar")):
		return sinceBundle(transport.Reference{Transport: transport.OCIArchive, Name: name})
	case bytes.HasPrefix(bytes.TrimSpace(head), []byte("{")):
		return sinceIndex(ctx, c, r, log)
	}
	return readDigests(r)
}

// sinceBundle takes every blob that lies in a bundle.
func sinceBundle(ref transport.Reference) (Since, error) {
	b, err := transport.OpenBundle(ref)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	list, err := Blobs(b)
	if err != nil {
		return nil, err
	}
	since := Since{}
	for _, d := range list {
		since[d] = true
	}
	return since, nil
}

// Blobs lists the digests of all that lies in a bundle, sorted.
func Blobs(b *transport.Bundle) ([]digest.Digest, error) {
	files, err := b.Files()
	if err != nil {
		return nil, err
	}
	var list []digest.Digest
	for _, f := range files {
		if d, ok := ocilayout.ParseBlobName(f.Name); ok && f.Size >= 0 {
			list = append(list, d)
		}
	}
	return list, nil
}

// sinceIndex takes all that the entries of an index.json lead to.
func sinceIndex(ctx context.Context, c *transport.Client, r io.Reader, log func(format string, a ...any)) (Since, error) {
	raw, err := io.ReadAll(io.LimitReader(r, spec.MaxManifestSize+1))
	if err != nil {
		return nil, err
	}
	index, err := spec.ParseIndex(ocispec.MediaTypeImageIndex, raw)
	if err != nil {
		return nil, err
	}
	since := Since{}
	for _, e := range index.Manifests {
		if marks(e) {
			return nil, &problem{"this is a delta: the other side has more than it holds", "name the bundle that it was added to", 2}
		}
		if entryName(e) == "" {
			continue
		}
		if err := sinceEntry(ctx, c, e, since, log); err != nil {
			return nil, err
		}
	}
	return since, nil
}

func sinceEntry(ctx context.Context, c *transport.Client, e ocispec.Descriptor, since Since, log func(format string, a ...any)) error {
	ref, err := transport.ParseBundleName(entryName(e))
	if err != nil {
		return err
	}
	if _, suffix, ok := transport.AttachedTo(ref.Tag); ok && suffix == "" {
		return nil // a list that no registry has: what it names is sent again
	}
	platforms, err := spec.BundlePlatforms(e)
	if err != nil {
		return err
	}
	src, err := c.Source(ctx, transport.Reference{Transport: transport.Docker, Name: ref.Name, Digest: e.Digest})
	if err != nil {
		return err
	}
	defer src.Close()
	r := newReach(src)
	r.fail = func(d digest.Digest, err error) error {
		if !isAbsent(err) {
			return err
		}
		if log != nil {
			log("%q: %s is gone: what only it names is not left out", entryName(e), d)
		}
		return nil
	}
	if err := r.add(ctx, ref.Name, plain(e), platforms); err != nil {
		return fmt.Errorf("image %q: %w", entryName(e), err)
	}
	for d := range r.blob {
		since[d] = true
	}
	return nil
}

// workOf is the directory in which a bundle grows: at the top of a layout, or beside
// an archive.
func workOf(dst transport.Reference) string {
	if dst.Transport == transport.OCI {
		return filepath.Join(dst.Name, ocilayout.BundleWork)
	}
	dir, file := filepath.Split(filepath.Clean(dst.Name))
	return filepath.Join(dir, "."+file+ocilayout.BundleWork)
}
