//go:build linux && containers_image_openpgp && (!cgo || exclude_graphdriver_btrfs)

package transport

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/pkg/sysregistriesv2"
	"go.podman.io/image/v5/types"
	"go.podman.io/storage"
)

// manifestKey begins the keys of an image's manifests; the digest follows. The
// key storage.ImageDigestBigDataKey holds the one that the image has by name.
const manifestKey = storage.ImageDigestBigDataKey + "-"

// image finds the image that a reference names.
func (s *imageStore) image(sys *types.SystemContext, ref Reference) (*storage.Image, error) {
	n, _, err := ref.storage()
	if err != nil {
		return nil, err
	}
	if n.image == "" {
		return s.imageByID(ref, n.id)
	}
	if n.id == "" && ref.Tag == "" && ref.Digest == "" && imageID().MatchString(n.image) {
		if img, err := s.imageByID(ref, n.image); err == nil || len(n.image) == fullID {
			return img, err
		}
	}
	repos, err := storedNames(sys, nameOf(n.image))
	if err != nil {
		return nil, fmt.Errorf("look for %q: %w", ref, err)
	}
	if n.id != "" {
		return s.imageOf(ref, n.id, repos)
	}
	tag := ref.Tag
	if tag == "" {
		tag = "latest"
	}
	images, err := s.Images()
	if err != nil {
		return nil, storageError(ref, err)
	}
	for _, repo := range repos {
		for i := range images {
			img := &images[i]
			if ref.Digest != "" && inRepository(img, repo) && manifestOf(img, ref.Digest) != "" ||
				ref.Digest == "" && slices.Contains(img.Names, repo+":"+tag) {
				return img, nil
			}
		}
	}
	return nil, notStored(ref, tag, repos, images)
}

// imageByID finds an image by its ID or the beginning of it.
func (s *imageStore) imageByID(ref Reference, id string) (*storage.Image, error) {
	img, err := s.Image(id)
	if errors.Is(err, storage.ErrImageUnknown) || err == nil && !strings.HasPrefix(img.ID, id) {
		return nil, &NotFoundError{Ref: ref.String(), What: fmt.Sprintf("image %q", id)}
	}
	if err != nil {
		return nil, storageError(ref, err)
	}
	return img, nil
}

// imageOf finds an image by its ID if it has a name in one of the repositories.
func (s *imageStore) imageOf(ref Reference, id string, repos []string) (*storage.Image, error) {
	img, err := s.imageByID(ref, id)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(repos, func(repo string) bool { return inRepository(img, repo) }) {
		return nil, &NotFoundError{Ref: ref.String(), What: fmt.Sprintf("image %q of this name", id)}
	}
	return img, nil
}

// storedNames gives the full names of repositories that a name may mean, in
// podman's order: what has a host means itself; a short name is that of an image
// that was built here, or lies in one of the registries that registries.conf has
// searched, or is what containers/image completes it to.
func storedNames(sys *types.SystemContext, name string) ([]string, error) {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return nil, err
	}
	if named.Name() == name {
		return []string{name}, nil
	}
	search, err := sysregistriesv2.UnqualifiedSearchRegistries(sys)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, host := range append([]string{"localhost"}, search...) {
		names = append(names, host+"/"+name)
	}
	return append(names, named.Name()), nil
}

// inRepository says whether an image has any tag or digest of a repository.
func inRepository(img *storage.Image, repo string) bool {
	return slices.ContainsFunc(img.Names, func(name string) bool { return nameOf(name) == repo })
}

// manifestOf gives the key of the image's manifest with this digest, or "".
func manifestOf(img *storage.Image, d digest.Digest) string {
	for _, key := range img.BigDataNames {
		if key == manifestKey+d.String() || key == storage.ImageDigestBigDataKey && img.BigDataDigests[key] == d {
			return key
		}
	}
	return ""
}

// tagsOf lists the tags that images have in a repository, sorted.
func tagsOf(images []storage.Image, repo string) []string {
	var tags []string
	for _, img := range images {
		for _, name := range img.Names {
			if tag, ok := strings.CutPrefix(name, repo+":"); ok && !strings.ContainsAny(tag, "/@") {
				tags = append(tags, tag)
			}
		}
	}
	slices.Sort(tags)
	return slices.Compact(tags)
}

// notStored says that a name is not there, and what is.
func notStored(ref Reference, tag string, repos []string, images []storage.Image) error {
	what := fmt.Sprintf("tag %q", tag)
	if ref.Digest != "" {
		what = "manifest " + ref.Digest.String()
	}
	for _, repo := range repos {
		if tags := tagsOf(images, repo); len(tags) > 0 {
			return &NotFoundError{Ref: ref.String(), What: what, Have: tags}
		}
	}
	var names []string
	for _, img := range images {
		names = append(names, img.Names...)
	}
	slices.Sort(names)
	return &NotFoundError{Ref: ref.String(), What: "image", Have: names}
}

// tags lists the tags of the first repository that a name may mean and that
// has any.
func (s *imageStore) tags(sys *types.SystemContext, ref Reference) ([]string, error) {
	n, _, err := ref.storage()
	if err != nil {
		return nil, err
	}
	repos, err := storedNames(sys, nameOf(n.image))
	if err != nil {
		return nil, badRef("name a repository", "%q names no repository: %v", ref, err)
	}
	images, err := s.Images()
	if err != nil {
		return nil, storageError(ref, err)
	}
	for _, repo := range repos {
		if tags := tagsOf(images, repo); len(tags) > 0 {
			return tags, nil
		}
	}
	return nil, &NotFoundError{Ref: ref.String(), What: "repository"}
}
