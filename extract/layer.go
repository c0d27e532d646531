package extract

import (
	"context"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/extract/resolve"
	"github.com/nbpack/nbpack/internal/archive"
	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/spec"
)

// layersOf makes the layers of a target, for one that reads them.
func layersOf(t *resolve.Target) []layer {
	layers := make([]layer, len(t.Holds))
	for i, holds := range t.Holds {
		desc := t.Manifest.Layers[i]
		switch {
		case holds.Path == "":
			layers[i] = emptyLayer{desc}
		case holds.Dir:
			layers[i] = &tarLayer{desc: desc, at: i, holds: holds}
		default:
			layers[i] = &fileLayer{desc: desc, at: i, holds: holds}
		}
	}
	return layers
}

// layer is one layer of a target: what is known of it before it is read, and
// how it is read. The intake treats all alike, be they tars or single files.
type layer interface {
	// blob is its descriptor in the manifest.
	blob() ocispec.Descriptor
	// may tells whether it can make something at a path.
	may(path string) bool
	// recorded finds the record of the same layer in an installed image.
	recorded(known layerIndex) (knownLayer, bool)
	// foresee lists what it holds without reading it, from the manifest and
	// the records; false where that takes reading. The size of a file is -1
	// and its sha256 empty where only these are not known.
	foresee(known layerIndex) ([]spec.Entry, bool)
	// space is how many bytes it takes on the disk, as far as it says so.
	space() int64
	// open reads the blob and proves on the way what the manifest promises of
	// the content; the digest of the blob is the caller's to prove.
	open(ctx context.Context, blob io.Reader) (entryReader, error)
	// record is what is kept of it, without its entries.
	record() bootdir.Layer
}

// entryReader gives the entries of a layer one after the other, and their
// content. io.EOF from Next says that the layer was read to its end and is
// right.
type entryReader interface {
	contentReader
	Next() (spec.Entry, error)
	Close() error
}

// contentReader gives the content of a file, and digests it.
type contentReader interface {
	io.Reader
	// SHA256 is the digest of a content that was read to its end, in lower-case hex.
	SHA256() string
}

// tarLayer is a tar: of an image, or a directory in an artifact.
type tarLayer struct {
	desc   ocispec.Descriptor
	at     int
	holds  spec.ArtifactLayer // its directory, "." for an image, and its diff ID
	diffID string             // where nothing promises it: as it was measured
}

func (l *tarLayer) blob() ocispec.Descriptor { return l.desc }
func (l *tarLayer) may(path string) bool     { return l.holds.Holds(path) }

func (l *tarLayer) record() bootdir.Layer {
	r := newRecord(l.desc)
	if r.DiffID = l.holds.Digest.String(); r.DiffID == "" {
		r.DiffID = l.diffID
	}
	return r
}

func (l *tarLayer) recorded(known layerIndex) (knownLayer, bool) {
	k, ok := known.tar(l.desc, l.holds.Digest.String())
	if ok {
		l.diffID = k.layer.DiffID
	}
	return k, ok
}

func (l *tarLayer) foresee(known layerIndex) ([]spec.Entry, bool) {
	k, ok := l.recorded(known)
	if !ok {
		return nil, false
	}
	entries := make([]spec.Entry, len(k.layer.Entries))
	for i, e := range k.layer.Entries {
		if !l.holds.Holds(e.Path) {
			return nil, false // packed under another name
		}
		e.Layer = l.at
		entries[i] = e
	}
	return entries, true
}

func (l *tarLayer) space() int64 {
	if bound, declared, err := spec.LayerBound(l.desc); err == nil && declared {
		return bound
	}
	return l.desc.Size
}

func (l *tarLayer) open(ctx context.Context, blob io.Reader) (entryReader, error) {
	r, err := archive.NewLayerReader(ctx, blob, l.desc, l.at)
	if err != nil {
		return nil, err
	}
	return &tarReader{r, l}, nil
}

// tarReader adds to a LayerReader what the manifest promises.
type tarReader struct {
	*archive.LayerReader
	l *tarLayer
}

func (r *tarReader) Next() (spec.Entry, error) {
	e, err := r.LayerReader.Next()
	if err == nil && !r.l.holds.Holds(e.Path) {
		return e, spec.Refuse(spec.RulePath, e.Path, "lies outside of the directory %q that its layer is", r.l.holds.Path)
	}
	if err != io.EOF {
		return e, err
	}
	got := r.DiffID().String()
	if want := r.l.holds.Digest.String(); want != "" && got != want {
		return e, spec.Refuse(spec.RuleDiffID, "", "layer %s unpacks to %s, %s is promised", r.l.desc.Digest, got, want)
	}
	r.l.diffID = got
	return e, err
}

// fileLayer is one file.
type fileLayer struct {
	desc  ocispec.Descriptor
	at    int
	holds spec.ArtifactLayer
}

func (l *fileLayer) blob() ocispec.Descriptor { return l.desc }
func (l *fileLayer) may(path string) bool     { return l.holds.Holds(path) }
func (l *fileLayer) record() bootdir.Layer    { return newRecord(l.desc) }
func (l *fileLayer) space() int64             { return max(l.holds.Size, l.desc.Size) }

func (l *fileLayer) recorded(known layerIndex) (knownLayer, bool) { return known.file(l.desc) }

func (l *fileLayer) entry() spec.Entry {
	return spec.Entry{Layer: l.at, Path: l.holds.Path, Type: spec.TypeFile, Size: l.holds.Size, SHA256: l.holds.SHA256()}
}

// foresee has the promise of the manifest, or else what the same blob held before.
func (l *fileLayer) foresee(known layerIndex) ([]spec.Entry, bool) {
	e := l.entry()
	if k, ok := l.recorded(known); ok && e.SHA256 == "" {
		e.SHA256, e.Size = k.layer.Entries[0].SHA256, k.layer.Entries[0].Size
	}
	if size, ok := known.sizes[e.SHA256]; ok && e.Size < 0 {
		e.Size = size
	}
	return []spec.Entry{e}, true
}

func (l *fileLayer) open(ctx context.Context, blob io.Reader) (entryReader, error) {
	r, err := archive.NewFileReader(ctx, blob, l.holds.Codec, l.desc)
	if err != nil {
		return nil, err
	}
	return &fileEntryReader{FileReader: r, entry: l.entry()}, nil
}

// fileEntryReader gives a file as the only entry of its layer.
type fileEntryReader struct {
	*archive.FileReader
	entry spec.Entry
	given bool
}

func (r *fileEntryReader) Next() (spec.Entry, error) {
	if !r.given {
		r.given = true
		e := r.entry
		e.SHA256 = "" // whoever reads it finds out
		return e, nil
	}
	if _, err := io.Copy(io.Discard, r.FileReader); err != nil {
		return spec.Entry{}, err
	}
	return spec.Entry{}, io.EOF
}

func (r *fileEntryReader) Close() error {
	r.FileReader.Close()
	return nil
}

// emptyLayer is the placeholder of an artifact without files: nothing is made
// of it, and so it is not read.
type emptyLayer struct{ desc ocispec.Descriptor }

func (l emptyLayer) blob() ocispec.Descriptor                { return l.desc }
func (l emptyLayer) may(string) bool                         { return false }
func (l emptyLayer) recorded(layerIndex) (knownLayer, bool)  { return knownLayer{}, false }
func (l emptyLayer) foresee(layerIndex) ([]spec.Entry, bool) { return []spec.Entry{}, true }
func (l emptyLayer) space() int64                            { return 0 }
func (l emptyLayer) record() bootdir.Layer                   { return newRecord(l.desc) }
func (l emptyLayer) open(context.Context, io.Reader) (entryReader, error) {
	return nil, spec.Refuse(spec.RuleTitle, "", "layer %s holds nothing", l.desc.Digest)
}

func newRecord(d ocispec.Descriptor) bootdir.Layer {
	return bootdir.Layer{Digest: d.Digest.String(), MediaType: d.MediaType, Size: d.Size}
}
