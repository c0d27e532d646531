package relocate

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/nbpack/nbpack/spec"
)

// cnabBundle is what a bundle.json says of its images (CNAB Core 1.0, section
// "Bundle format").
type cnabBundle struct {
	SchemaVersion    string               `json:"schemaVersion"`
	InvocationImages []cnabImage          `json:"invocationImages"`
	Images           map[string]cnabImage `json:"images"`
}

type cnabImage struct {
	Image         string `json:"image"`
	ImageType     string `json:"imageType"`
	ContentDigest string `json:"contentDigest"`
	// Digest is the name of contentDigest in early bundles.
	Digest string `json:"digest"`
}

// IsCNAB tells whether a list of images is meant to be the bundle.json of a cloud
// native application bundle: an object of JSON, and not lines of references.
func IsCNAB(list []byte) bool { return bytes.HasPrefix(bytes.TrimLeft(list, " \t\r\n"), []byte("{")) }

// ParseCNAB gives the images of a bundle.json, those that install it first. name is
// what messages call it. Errors are usage errors, and tell of every bad image.
func ParseCNAB(name string, b []byte) ([]Image, error) {
	var bundle cnabBundle
	if err := spec.UnmarshalStrict(b, &bundle); err != nil {
		return nil, usage("", "list %q begins as a bundle.json (CNAB) and is none: %v", name, err)
	}
	if bundle.InvocationImages == nil && bundle.Images == nil {
		return nil, usage("", "list %q is JSON, but no bundle.json (CNAB): it has neither invocationImages nor images", name)
	}
	var images []Image
	var bad []error
	add := func(where string, c cnabImage) {
		i, err := c.parse()
		if err != nil {
			bad = append(bad, fmt.Errorf("%q %s: %w", name, where, err))
			return
		}
		images = append(images, i)
	}
	for n, c := range bundle.InvocationImages {
		add(fmt.Sprintf("invocationImages[%d]", n), c)
	}
	for _, key := range slices.Sorted(maps.Keys(bundle.Images)) {
		add(fmt.Sprintf("images %q", key), bundle.Images[key])
	}
	return images, allBad(bad)
}

func (c cnabImage) parse() (Image, error) {
	switch c.ImageType {
	case "", "oci", "docker":
	default:
		return Image{}, usage("", "image %q has the type %q, and only those of registries can be relocated", c.Image, c.ImageType)
	}
	i, err := ParseImage(c.Image)
	if err != nil {
		return i, err
	}
	for _, s := range []string{c.ContentDigest, c.Digest} {
		if s == "" {
			continue
		}
		d, err := spec.ParseDigest(s)
		if err != nil {
			return i, usage("", "image %q: %v", c.Image, err)
		}
		if i.Want != "" && i.Want != d {
			return i, usage("", "image %q has the digest %s and the digest %s", c.Image, i.Want, d)
		}
		i.Want = d
	}
	if d := digestOf(i.named); i.Want != "" && d != "" && d != i.Want {
		return i, usage("", "image %q is said to have the digest %s", c.Image, i.Want)
	}
	return i, nil
}
