package transport

import (
	"fmt"
	"os"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/ocilayout"
	"github.com/nbpack/nbpack/spec"
)

// Bundle reads an OCI layout, or an archive of one, that holds images of many
// repositories: the name of an entry of its index.json is the full reference of
// the image ([BundleName]). It is read once and must not change while it is open.
type Bundle struct {
	local
	index  *ocispec.Index
	byName map[string][]ocispec.Descriptor
	byRepo map[string][]bundleEntry // those that have a full reference for a name
	// suffixes of attachments, by their names without it.
	suffixes map[string][]string
}

// bundleEntry is an entry of index.json with its name.
type bundleEntry struct {
	ref  Reference
	desc ocispec.Descriptor
}

// OpenBundle opens the layout (oci:) or archive (oci-archive:) that ref names,
// as a whole: an image named in ref is an error of usage.
func OpenBundle(ref Reference) (*Bundle, error) {
	if err := checkBundlePlace(ref); err != nil {
		return nil, err
	}
	src, err := openLayout(ref)
	if err != nil {
		return nil, err
	}
	idx, _, err := ocilayout.ReadIndex(src.files)
	if isNotExist(err) {
		err = &NotFoundError{Ref: ref.String(), What: "layout (oci-layout and index.json)"}
	}
	if err != nil {
		_ = src.Close() // only read from
		return nil, fmt.Errorf("read %q: %w", ref, err)
	}
	b := &Bundle{local: src.local, index: idx, byName: map[string][]ocispec.Descriptor{}, byRepo: map[string][]bundleEntry{}, suffixes: map[string][]string{}}
	for _, d := range idx.Manifests {
		if name := ocilayout.RefName(d); name != "" {
			b.byName[name] = append(b.byName[name], d)
			tag := strings.LastIndexByte(name, ':') + 1
			if list, suffix, ok := AttachedTo(name[tag:]); ok && suffix != "" {
				b.suffixes[name[:tag]+list] = append(b.suffixes[name[:tag]+list], suffix)
			}
			if full, err := ParseBundleName(name); err == nil {
				b.byRepo[full.Name] = append(b.byRepo[full.Name], bundleEntry{full, d})
			}
		}
	}
	return b, nil
}

const bundleForms = "a bundle is written oci:DIR or oci-archive:FILE"

// ParseBundle reads what names a bundle, oci:DIR or oci-archive:FILE; everything else is
// an error of usage.
func ParseBundle(name string) (Reference, error) {
	ref, err := ParseReference(name)
	if err != nil || ref.Transport != OCI && ref.Transport != OCIArchive {
		return ref, badRef(bundleForms, "%q is no bundle", withoutUser(name))
	}
	return ref, checkBundlePlace(ref)
}

func checkBundlePlace(ref Reference) error {
	if ref.Transport != OCI && ref.Transport != OCIArchive {
		return badRef(bundleForms, "%q is no bundle", ref)
	}
	if ref.Tag != "" || ref.Digest != "" {
		whole := Reference{Transport: ref.Transport, Name: ref.Name}
		return badRef("name the whole: "+whole.String(), "%q is one image of a bundle", ref)
	}
	return nil
}

// BundleName is the name that an image has in a bundle: its reference, a registry
// one, without "docker://".
func BundleName(ref Reference) string { return strings.TrimPrefix(ref.String(), Docker+"://") }

// ParseBundleName reads such a name. It is complete, with a host and with a tag or
// a digest; everything else is an error of usage.
func ParseBundleName(name string) (Reference, error) {
	ref, err := ParseReference(Docker + "://" + name)
	if err != nil {
		return ref, err
	}
	if BundleName(ref) != name {
		return ref, badRef("", "%q is no full reference HOST/REPOSITORY:TAG", name)
	}
	return ref, nil
}

// Entries gives the entries of index.json as they stand there. They are the
// caller's to keep; nothing is known of their descriptors.
func (b *Bundle) Entries() []ocispec.Descriptor { return slices.Clone(b.index.Manifests) }

// Has tells whether the bundle holds content of that digest and size. It looks at
// the size only; reading it proves the rest.
func (b *Bundle) Has(d ocispec.Descriptor) bool {
	if checkDescriptor(d, false) != nil {
		return false
	}
	r, size, err := b.files.Open(ocilayout.BlobName(d.Digest))
	if err != nil {
		return false
	}
	_ = r.Close() // only opened
	return size == d.Size
}

// Files lists everything that lies in the bundle but directories, sorted by name.
// What begins with a dot at the top belongs to tools at work, and is left out.
func (b *Bundle) Files() ([]ocilayout.File, error) {
	list, err := b.files.List()
	if err != nil {
		return nil, fmt.Errorf("list the files of %q: %w", b.ref, err)
	}
	list = slices.DeleteFunc(list, func(f ocilayout.File) bool { return strings.HasPrefix(f.Name, ".") })
	slices.SortFunc(list, func(a, b ocilayout.File) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// OpenBundleTarget opens what a bundle is going to be written to: nil where there
// is nothing yet, or what a writer left that was killed at its first image. That
// something else is there, which must not be replaced, is an error.
func OpenBundleTarget(ref Reference) (*Bundle, error) {
	if err := checkBundlePlace(ref); err != nil {
		return nil, err
	}
	st, err := os.Stat(ref.path())
	if isNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look at %q: %w", ref, err)
	}
	if ref.Transport == OCIArchive {
		if st.Mode().IsRegular() && st.Size() == 0 {
			return nil, nil
		}
	} else if raw, err := checkLayoutTarget(ref, st); err != nil || raw == nil {
		return nil, err
	}
	b, err := OpenBundle(ref)
	if err != nil {
		return nil, err
	}
	for _, d := range b.index.Manifests {
		if err := checkBundleEntry(d); err != nil {
			_ = b.Close() // only read from
			return nil, targetError(ref, "%v", err)
		}
	}
	return b, nil
}

// checkBundleEntry refuses entries that could not be written again.
func checkBundleEntry(d ocispec.Descriptor) error {
	if err := spec.CheckDescriptor(d); err != nil {
		return err
	}
	if name := ocilayout.RefName(d); name == "" && d.ArtifactType == "" {
		return fmt.Errorf("it holds an image without a name, and is not a bundle")
	} else if _, err := ParseBundleName(name); name != "" && err != nil {
		return fmt.Errorf("it holds an image named %q, which is no full reference, and is not a bundle", name)
	}
	return nil
}
