package extract

import (
	"context"
	"errors"
	"io"
	"syscall"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/archive"
	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// blobStream is a blob that is read as a whole, from its beginning that an earlier
// run may have kept.
type blobStream struct {
	io.Reader
	blob    io.ReadCloser
	partial *bootdir.Partial  // nil: nothing is kept
	left    *bootdir.Leftover // nil: nothing was left
	layer   *tarLayer
	toc     archive.Table // to be caught on the way; absent for other layers
	tap     *archive.Tap
}

// openBlob begins to stream a layer. What is kept of it for a run after this one
// depends on its form: a stream that can be decoded from its first byte only is
// copied while it passes, of all others the staged files serve.
func (in *intake) openBlob(ctx context.Context, l layer) (*blobStream, error) {
	b := &blobStream{}
	desc := l.blob()
	var have io.Reader
	var size int64
	switch l := l.(type) {
	case *fileLayer:
		if in.disk == nil || l.holds.Codec != spec.CodecNone {
			break
		}
		if left := in.disk.Leftover(l.holds.Path); left != nil {
			b.left, size = left, left.Size()
			have = io.NewSectionReader(left, 0, size)
		}
	case *tarLayer:
		b.layer = l
		if tables, err := archive.LayerTables(desc); err == nil {
			b.toc = tables.TOC
		}
	}
	if in.disk != nil && keepsBeginning(l) {
		b.partial = in.dir.Partial(desc.Digest.String(), desc.Size)
	}
	if b.partial.Size() > 0 {
		have, size = b.partial.Prefix(), b.partial.Size()
	}
	if in.noResume && size > 0 || size > desc.Size {
		b.partial.Drop()
		size = 0
	}
	var err error
	if size > 0 {
		in.resumed = true
		b.blob, err = transport.Resume(ctx, in.src, desc, have)
	} else {
		b.blob, err = in.src.Blob(ctx, desc)
	}
	if err != nil {
		b.closePartial(err)
		return nil, err
	}
	b.Reader = b.partial.Tee(b.blob)
	if b.toc.Present() {
		b.tap = archive.NewTap(b.Reader, b.toc)
		b.Reader = b.tap
	}
	return b, nil
}

// keepsBeginning tells whether a layer can be entered at its first byte only, so
// that its blob is copied while it streams by.
func keepsBeginning(l layer) bool {
	switch l := l.(type) {
	case *fileLayer:
		return l.holds.Codec != spec.CodecNone
	case *tarLayer:
		tables, err := archive.LayerTables(l.desc)
		return err != nil || !tables.TarSplit.Present() || !tables.TOC.Present() && !tables.FileTable.Present()
	}
	return false
}

// list is the table of contents that passed, nil if there was none.
func (b *blobStream) list() []byte {
	if b.tap == nil {
		return nil
	}
	return b.tap.Frame()
}

// close ends the stream; err is how the reading of it ended.
func (b *blobStream) close(err error) {
	_ = b.blob.Close()
	b.closePartial(err)
}

func (b *blobStream) closePartial(err error) {
	if isRefusal(err) {
		b.partial.Drop()
	}
	_ = b.partial.Close()
	if b.left != nil {
		_ = b.left.Close()
	}
}

// noSpace tells whether the disk is full.
func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// blame turns a refusal into errOnceMore where what an earlier run has kept may
// be the reason of it.
func (in *intake) blame(err error) error {
	if in.resumed && isRefusal(err) && !transport.MirrorLied(err) {
		in.logf("%v; once more without what an earlier run has kept", err)
		return errOnceMore
	}
	return err
}

// beginnings is how many bytes of blobs will be copied to the disk for a later run.
func (in *intake) beginnings() (bytes int64) {
	in.eachBeginning(func(desc ocispec.Descriptor, p *bootdir.Partial) {
		if p != nil {
			bytes += desc.Size - p.Size()
			_ = p.Close()
		}
	})
	return bytes
}

// dropBeginnings leaves nothing of an image that was refused.
func (in *intake) dropBeginnings() {
	in.eachBeginning(func(_ ocispec.Descriptor, p *bootdir.Partial) { p.Drop() })
}

func (in *intake) eachBeginning(f func(desc ocispec.Descriptor, p *bootdir.Partial)) {
	for i, l := range in.layers {
		if _, ok := in.replayable(i); !ok && keepsBeginning(l) {
			desc := l.blob()
			f(desc, in.dir.Partial(desc.Digest.String(), desc.Size))
		}
	}
}
