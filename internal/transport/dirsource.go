package transport

import (
	"context"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/ocilayout"
	"github.com/nbpack/nbpack/spec"
)

// The names of the directory format of containers/image.
const (
	dirVersionFile   = "version"
	dirVersionPrefix = "Directory Transport Version: "
	dirVersion       = dirVersionPrefix + "1.1\n"
	dirManifest      = "manifest.json"
)

// dirBlobName is how that format names a blob.
func dirBlobName(d digest.Digest) string {
	if d.Algorithm() == digest.SHA256 {
		return d.Encoded()
	}
	return d.Algorithm().String() + "-" + d.Encoded()
}

// dirSource reads a dir: reference.
type dirSource struct {
	local
	top    ocispec.Descriptor
	topRaw []byte
}

// openDir reads the manifest at once: it has no name that tells its digest.
func openDir(ref Reference) (*dirSource, error) {
	f, err := ocilayout.OpenDir(ref.path())
	if isNotExist(err) {
		return nil, &NotFoundError{Ref: ref.String(), What: "directory"}
	}
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", ref, err)
	}
	s := &dirSource{local: local{ref: ref, files: f, name: dirBlobName}}
	if err := s.load(); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("read %q: %w", ref, err)
	}
	return s, nil
}

func (s *dirSource) load() error {
	version, err := ocilayout.ReadFile(s.files, dirVersionFile)
	if err == nil && !strings.HasPrefix(string(version), dirVersionPrefix+"1.") {
		return spec.Refuse(ruleLayout, dirVersionFile, "version %q is not known", version)
	}
	if err != nil && !isNotExist(err) { // old writers left it out
		return err
	}
	raw, err := ocilayout.ReadFile(s.files, dirManifest)
	if isNotExist(err) {
		return &NotFoundError{Ref: s.ref.String(), What: dirManifest}
	}
	if err != nil {
		return err
	}
	s.topRaw = raw
	s.top = ocispec.Descriptor{Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	s.top.MediaType, err = manifestType(s.top, "", raw)
	return err
}

// Resolve implements Source.
func (s *dirSource) Resolve(ctx context.Context) (ocispec.Descriptor, error) {
	return s.top, ctx.Err()
}

// Manifest implements Source. The manifests below an index lie in files of
// their own.
func (s *dirSource) Manifest(ctx context.Context, d ocispec.Descriptor) ([]byte, string, error) {
	if d.Digest != s.top.Digest {
		below := s.local
		below.name = func(d digest.Digest) string { return dirBlobName(d) + ".manifest.json" }
		return below.Manifest(ctx, d)
	}
	if err := checkDescriptor(d, true); err != nil {
		return nil, "", err
	}
	if _, err := readManifest(strings.NewReader(string(s.topRaw)), d); err != nil {
		return nil, "", err
	}
	mt, err := manifestType(d, "", s.topRaw)
	return s.topRaw, mt, err
}
