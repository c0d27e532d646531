package spec

import (
	"fmt"
	"regexp"
	"sync"
)

// AnnotationIndexIdentity names, in a child of an index, the annotations that
// tell its entry from others of the same platform and artifactType: their keys,
// sorted, parted by commas. A child without it has AnnotationDiskType alone.
const AnnotationIndexIdentity = LabelPrefix + "index.identity"

// AnnotationIndexRemoved holds, in a tombstone, the entries that were removed:
// a JSON list of their descriptors.
const AnnotationIndexRemoved = LabelPrefix + "index.removed"

// indexPlatform is an os with its version in brackets, and the rest.
var indexPlatform = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^([^(/]+)(?:\(([A-Za-z0-9][A-Za-z0-9._+~:-]{0,255})\))?(/.*)$`)
})

// IndexString gives the platform with its os.version where it has one, the
// value of AnnotationIndexPlatform: "linux(fedora-42)/arm/v7". containerd's
// platforms package writes it the same way.
func (p Platform) IndexString() string {
	if p.OSVersion == "" {
		return p.String()
	}
	s := p.String()
	return s[:len(p.OS)] + "(" + p.OSVersion + ")" + s[len(p.OS):]
}

// ParseIndexPlatform reads what IndexString writes. OS and architecture have to
// be there. The error is a plain one.
func ParseIndexPlatform(s string) (Platform, error) {
	parts := indexPlatform().FindStringSubmatch(s)
	if parts == nil {
		return Platform{}, fmt.Errorf("platform %q is not OS[(OS.VERSION)]/ARCH[/VARIANT]", s)
	}
	p, err := ParsePlatform(parts[1] + parts[3])
	if err != nil {
		return Platform{}, err
	}
	p.OSVersion = parts[2]
	return p, nil
}
