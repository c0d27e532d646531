package trust

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// store is a repository in memory that believes everything it is told.
type store struct {
	manifests map[digest.Digest][]byte
	blobs     map[digest.Digest][]byte
	referrers []ocispec.Descriptor // of everything
	tags      map[string]ocispec.Descriptor
	fail      error // of every blob
	listFail  error
	reads     int
}

func newStore() *store {
	return &store{manifests: map[digest.Digest][]byte{}, blobs: map[digest.Digest][]byte{}, tags: map[string]ocispec.Descriptor{}}
}

func (s *store) Manifest(ctx context.Context, d ocispec.Descriptor) ([]byte, string, error) {
	s.reads++
	b, ok := s.manifests[d.Digest]
	if !ok {
		return nil, "", errors.New("no such manifest")
	}
	return b, d.MediaType, ctx.Err()
}

func (s *store) Blob(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	b, ok := s.blobs[d.Digest]
	if s.fail != nil || !ok {
		return nil, errors.Join(s.fail, errors.New("no such blob"))
	}
	return io.NopCloser(bytes.NewReader(b)), ctx.Err()
}

func (s *store) Referrers(context.Context, digest.Digest, string) ([]ocispec.Descriptor, error) {
	return s.referrers, s.listFail
}

func (s *store) Attached(_ context.Context, d digest.Digest, suffix string) (ocispec.Descriptor, bool, error) {
	if suffix != "sig" {
		return ocispec.Descriptor{}, false, nil
	}
	desc, ok := s.tags[simpleTag(d)]
	return desc, ok, nil
}

func (s *store) add(a *Attachment) ocispec.Descriptor {
	d := a.Descriptor()
	s.manifests[d.Digest] = a.Manifest
	for _, b := range a.Blobs {
		s.blobs[digest.FromBytes(b)] = b
	}
	return d
}

// bundled attaches a bundle by key.
func (s *store) bundled(t testing.TB, key *PrivateKey, r Request) {
	t.Helper()
	a, err := SignBundle(key, r)
	if err != nil {
		t.Fatal(err)
	}
	s.referrers = append(s.referrers, s.add(a))
}

// simpleTag is where simple signatures are.
func simpleTag(d digest.Digest) string {
	return d.Algorithm().String() + "-" + d.Encoded() + "." + SuffixSimple
}

// simply attaches a simple signature by key.
func (s *store) simply(t testing.TB, key *PrivateKey, r Request) {
	t.Helper()
	tag := simpleTag(r.Subject.Digest)
	a, err := SignSimple(key, r, s.manifests[s.tags[tag].Digest])
	if err != nil {
		t.Fatal(err)
	}
	if a != nil {
		s.tags[tag] = s.add(a)
	}
}

func newKey(t testing.TB) *PrivateKey {
	t.Helper()
	k, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

const here = "registry.example/netboot"

func manifest(text string) ocispec.Descriptor {
	return describe(ocispec.MediaTypeImageManifest, []byte(text))
}

func policyOf(keys ...*PrivateKey) *Policy {
	p := &Policy{}
	for _, k := range keys {
		p.Keys = append(p.Keys, k.Public())
	}
	return p
}
