package transport

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/ocilayout"
	"github.com/nbpack/nbpack/spec"
)

// selectEntry finds the entry that ref names: the one with its digest, the one
// with its name, or, when it has neither, the only one that is not attached to
// another. The error is errNoEntry when a digest is not among the entries: it may
// still be a blob.
func selectEntry(idx *ocispec.Index, ref Reference) (ocispec.Descriptor, error) {
	var found []ocispec.Descriptor
	for _, d := range idx.Manifests {
		if ref.Digest != "" && d.Digest == ref.Digest || ref.Digest == "" && (ocilayout.RefName(d) == ref.Tag || ref.Tag == "" && !isAttachment(ocilayout.RefName(d))) {
			// The same image may be there under several names.
			if !slices.ContainsFunc(found, func(o ocispec.Descriptor) bool { return o.Digest == d.Digest }) {
				found = append(found, d)
			}
		}
	}
	names := ocilayout.Names(idx)
	switch {
	case len(found) == 1:
		d := found[0]
		if err := spec.CheckDescriptor(d); err != nil {
			return d, fmt.Errorf("entry of %s: %w", ocispec.ImageIndexFile, err)
		}
		return d, nil
	case len(found) == 0 && ref.Digest != "":
		return ocispec.Descriptor{}, errNoEntry
	case len(found) == 0 && ref.Tag != "":
		return ocispec.Descriptor{}, &NotFoundError{Ref: ref.String(), What: fmt.Sprintf("image %q", ref.Tag), Have: names}
	case len(found) == 0:
		return ocispec.Descriptor{}, &NotFoundError{Ref: ref.String(), What: "any image"}
	case ref.Tag == "":
		return ocispec.Descriptor{}, badRef("name one: "+ref.String()+":NAME", "%q holds %d images: %s", ref.String(), len(found), quoteList(names))
	}
	return ocispec.Descriptor{}, spec.Refuse(ruleLayout, ocispec.ImageIndexFile, "%d different images are named %q", len(found), ref.Tag)
}

// isAttachment tells whether a name is one that attachments have, in a bundle the
// tag of it.
func isAttachment(name string) bool {
	return IsAttachment(name[strings.LastIndexByte(name, ':')+1:])
}

var errNoEntry = errors.New("no such entry")
