package bundle

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// listType is the media type of a list of digests.
const listType = "text/plain"

// maxListSize bounds lists of digests: a million of them.
const maxListSize = 80 << 20

// omission is the artifact that marks a delta.
type omission struct {
	entry ocispec.Descriptor
	blobs map[digest.Digest][]byte // the manifest and what it names
}

// omit makes the artifact for what is left out of a delta.
func omit(left map[digest.Digest]bool) (*omission, error) {
	var list bytes.Buffer
	for _, d := range slices.Sorted(maps.Keys(left)) {
		fmt.Fprintln(&list, d)
	}
	o := &omission{blobs: map[digest.Digest][]byte{}}
	manifest, err := encode(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: OmittedType,
		Config: o.put(ocispec.MediaTypeEmptyJSON, []byte("{}")),
		Layers: []ocispec.Descriptor{o.put(listType, list.Bytes())},
	})
	if err != nil {
		return nil, err
	}
	o.entry = o.put(ocispec.MediaTypeImageManifest, manifest)
	o.entry.ArtifactType = OmittedType
	return o, nil
}

func (o *omission) put(mt string, b []byte) ocispec.Descriptor {
	d := ocispec.Descriptor{MediaType: mt, Digest: digest.FromBytes(b), Size: int64(len(b))}
	o.blobs[d.Digest] = b
	return d
}

// marks tells whether an entry of index.json marks a delta.
func marks(d ocispec.Descriptor) bool { return d.ArtifactType == OmittedType && entryName(d) == "" }

// isDelta tells whether a bundle leaves something out.
func isDelta(b *transport.Bundle) bool { return slices.ContainsFunc(b.Entries(), marks) }

// omitted reads what a delta leaves out, and adds the artifact that says so to r.
func omitted(ctx context.Context, b *transport.Bundle, entry ocispec.Descriptor, r *reach) (Since, error) {
	body, mt, err := b.Manifest(ctx, plain(entry))
	if err != nil {
		return nil, err
	}
	m, err := spec.ParseManifest(mt, body)
	if err != nil {
		return nil, err
	}
	if len(m.Layers) != 1 {
		return nil, spec.Refuse(spec.RuleLayoutForm, entry.Digest.String(), "the mark of a delta has one layer, and this one %d", len(m.Layers))
	}
	if err := r.add(ctx, "", plain(entry), nil); err != nil {
		return nil, err
	}
	list, err := b.Blob(ctx, m.Layers[0])
	if err != nil {
		return nil, err
	}
	defer list.Close()
	return readDigests(list)
}

// readDigests reads a list: one digest on a line. Empty lines, and those that
// begin with #, are passed by.
func readDigests(r io.Reader) (Since, error) {
	since := Since{}
	limited := &io.LimitedReader{R: r, N: maxListSize + 1}
	lines := bufio.NewScanner(limited)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		d, err := spec.ParseDigest(text)
		if err != nil {
			return nil, fmt.Errorf("line %d of the list of digests: %w", n, err)
		}
		since[d] = true
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the list of digests: %w", err)
	}
	if limited.N == 0 {
		return nil, spec.Refuse(spec.RuleDocumentSize, "", "the list of digests is longer than %d bytes", maxListSize)
	}
	return since, nil
}
