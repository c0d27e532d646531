package transport

import (
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	"go.podman.io/image/v5/docker/reference"
)

// imageID matches the ID of an image in container storage: 64 hexadecimal
// digits, or the first of them. Tools take no fewer than three.
var imageID = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[0-9a-f]{3,64}$`)
})

// fullID is the length of an image ID that is not cut off.
const fullID = 64

// storageName is what the Name of a ContainersStorage reference says.
type storageName struct {
	// store is the text between the brackets, empty for the store that
	// storage.conf and the environment name.
	store string
	// image is the name of an image, without tag and digest, or an image ID.
	// It is empty when only id is given.
	image string
	// id is the image ID, whole or its beginning, behind an "@".
	id string
}

// storageSpec names a store: [DRIVER@]ROOT[+RUNROOT][:OPTION,…].
type storageSpec struct {
	driver, root, runRoot string
	options               []string
}

// String gives the Name that splitStorageName took apart.
func (n storageName) String() string {
	s := n.image
	if n.store != "" {
		s = "[" + n.store + "]" + s
	}
	if n.id != "" {
		s += "@" + n.id
	}
	return s
}

// parseStorage understands [STORE]NAME[:TAG][@DIGEST], [STORE]ID and
// [STORE][NAME[:TAG]]@ID, as containers-transports(5) has them, and the
// sha256:ID that podman prints.
func parseStorage(whole, rest string) (Reference, error) {
	n, err := splitStorageName(whole, rest)
	if err != nil {
		return Reference{}, err
	}
	if _, err := parseStorageSpec(whole, n.store); err != nil {
		return Reference{}, err
	}
	if hex, ok := strings.CutPrefix(n.image, "sha256:"); ok && len(hex) == fullID {
		n.image = hex
	}
	ref := Reference{Transport: ContainersStorage, Name: n.String()}
	if n.image == "" || len(n.image) == fullID && imageID().MatchString(n.image) {
		return ref, nil
	}
	named, err := reference.ParseNormalizedNamed(n.image)
	if err != nil {
		return Reference{}, badRef("", "image reference %q: %v", whole, err)
	}
	if n.id != "" {
		return ref, nil // the ID alone says which image it is
	}
	n.image = nameOf(n.image)
	ref.Name = n.String()
	if t, ok := named.(reference.Tagged); ok {
		ref.Tag = t.Tag()
	}
	if d, ok := named.(reference.Digested); ok {
		ref.Digest = d.Digest()
	}
	return ref, nil
}

// splitStorageName separates store, name and ID. What follows an "@" is an ID
// unless it is a digest, which stays with the name.
func splitStorageName(whole, rest string) (storageName, error) {
	var n storageName
	n.image = rest
	if inner, ok := strings.CutPrefix(rest, "["); ok {
		var closed bool
		if n.store, n.image, closed = strings.Cut(inner, "]"); !closed || n.store == "" {
			return n, badRef("write containers-storage:[DRIVER@ROOT]NAME", "image reference %q has a malformed store", whole)
		}
	}
	if i := strings.LastIndexByte(n.image, '@'); i >= 0 {
		behind := n.image[i+1:]
		if _, err := digest.Parse(behind); err != nil {
			if !imageID().MatchString(behind) {
				return n, badRef("", "image reference %q: %q is neither a digest nor an image ID", whole, behind)
			}
			n.image, n.id = n.image[:i], behind
		}
	}
	if n.image == "" && n.id == "" {
		return n, badRef("", "image reference %q names no image", whole)
	}
	return n, nil
}

// parseStorageSpec understands what stands between the brackets. Options and
// paths end at the characters that separate them, as everywhere in the
// containers tools, so a path cannot hold those.
func parseStorageSpec(whole, s string) (storageSpec, error) {
	var store storageSpec
	if s == "" {
		return store, nil
	}
	if driver, rest, ok := strings.Cut(s, "@"); ok {
		if driver == "" {
			return store, badRef("", "image reference %q: empty storage driver", whole)
		}
		store.driver, s = driver, rest
	}
	s, options, ok := strings.Cut(s, ":")
	if ok {
		store.options = strings.Split(options, ",")
	}
	store.root, store.runRoot, _ = strings.Cut(s, "+")
	if !filepath.IsAbs(store.root) || store.runRoot != "" && !filepath.IsAbs(store.runRoot) {
		return store, badRef("write containers-storage:[overlay@/var/lib/containers/storage]NAME",
			"image reference %q: the path of a store is absolute", whole)
	}
	return store, nil
}

// storage takes a reference of container storage apart again.
func (r Reference) storage() (storageName, storageSpec, error) {
	n, err := splitStorageName(r.String(), r.Name)
	if err != nil {
		return n, storageSpec{}, err
	}
	store, err := parseStorageSpec(r.String(), n.store)
	return n, store, err
}

// storageReadOnly is the answer to whoever wants to write there: podman and
// buildah do that, and what they store need not have the bytes it had before.
func storageReadOnly(ref Reference) error {
	return badRef("write to oci:DIR:NAME and load it with podman pull oci:DIR:NAME",
		"will not write to %q: images are only read from there", ref)
}
