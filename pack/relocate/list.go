package relocate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/transport"
)

// maxList bounds a list of images, in bytes.
const maxList = 16 << 20

// List is a list of images.
type List struct {
	Images []Image
	// CNAB says that the list is the bundle.json of a cloud native application
	// bundle.
	CNAB bool
}

// ReadList reads a list of images: one reference on a line, where empty lines and
// what follows a "#" count for nothing, or a bundle.json (CNAB). name is what
// messages call it. Errors in it are usage errors, and tell of every bad line.
func ReadList(name string, r io.Reader) (List, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxList+1))
	if err != nil {
		return List{}, fmt.Errorf("read the list %q: %w", name, err)
	}
	if len(b) > maxList {
		return List{}, usage("", "list %q is larger than %d bytes", name, maxList)
	}
	if bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("{")) {
		images, err := parseCNAB(name, b)
		return List{images, true}, err
	}
	var list List
	var bad []error
	n := 0
	for line := range strings.Lines(string(b)) {
		n++
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		i, err := ParseImage(line)
		if err != nil {
			bad = append(bad, fmt.Errorf("%q line %d: %w", name, n, err))
			continue
		}
		list.Images = append(list.Images, i)
	}
	return list, allBad(bad)
}

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

// companionTag is the grammar of tags that hold what is attached to a manifest.
var companionTag = regexp.MustCompile(`^sha256-[0-9a-f]{64}(\.(sig|att|sbom))?$`)

// BundleImages lists the images of a bundle in the order of their names, without
// what is attached to them, which comes with them anyway. A layout whose images are
// not named by full references is a usage error.
func BundleImages(b *transport.Bundle) ([]Image, error) {
	var names []string
	for _, d := range b.Entries() {
		// Attachments may have the tag alone for a name.
		if name := d.Annotations[ocispec.AnnotationRefName]; name != "" && !companionTag.MatchString(name) {
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
		case !companionTag.MatchString(ref.Tag):
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
