package relocate

import (
	"errors"
	"fmt"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/transport"
)

// ParseImages reads references, and tells of every bad one.
func ParseImages(list []string) ([]Image, error) {
	var images []Image
	var bad []error
	for _, s := range list {
		i, err := ParseImage(s)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		images = append(images, i)
	}
	return images, allBad(bad)
}

// allBad makes one usage error of several mistakes.
func allBad(list []error) error {
	switch len(list) {
	case 0:
		return nil
	case 1:
		return list[0]
	}
	const most = 20
	more := ""
	if n := len(list) - most; n > 0 {
		more = fmt.Sprintf("\nand %d more", n)
		list = slices.Clone(list[:most])
	}
	return usage("", "%v%s", errors.Join(list...), more)
}

// BundleImages lists the images of a bundle in the order of their names, without
// what is attached to them, which comes with them anyway. A layout whose images are
// not named by full references is a usage error.
func BundleImages(b *transport.Bundle) ([]Image, error) {
	var names []string
	for _, d := range b.Entries() {
		// Attachments may have the tag alone for a name.
		if name := d.Annotations[ocispec.AnnotationRefName]; name != "" && !transport.IsAttachment(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var images []Image
	var bad []error
	for _, name := range slices.Compact(names) {
		ref, err := transport.ParseBundleName(name)
		switch {
		case err != nil:
			bad = append(bad, usage("nbpack bundle create makes bundles, of images that have such names", "%q in the bundle is no full reference HOST/REPOSITORY:TAG", name))
		case !transport.IsAttachment(ref.Tag):
			i, err := ParseImage(name)
			if err != nil {
				bad = append(bad, err)
				continue
			}
			images = append(images, i)
		}
	}
	return images, allBad(bad)
}
