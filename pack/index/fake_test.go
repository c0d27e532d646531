package index

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// fakeRepo is a repository in memory whose moments a test can get between.
type fakeRepo struct {
	t  *testing.T
	mu sync.Mutex

	tags      map[string]digest.Digest
	manifests map[digest.Digest]fakeManifest
	blobs     map[digest.Digest][]byte
	puts      []string // tags, in order
	cas       bool     // If-Match counts
	stubborn  bool     // If-Match never fits

	// before is called with the name of an operation ("get TAG", "put TAG",
	// "tags", "copy") before it happens; an error takes its place.
	before func(op string) error
}

type fakeManifest struct {
	mediaType string
	body      []byte
}

func newFakeRepo(t *testing.T) *fakeRepo {
	return &fakeRepo{t: t, tags: map[string]digest.Digest{}, manifests: map[digest.Digest]fakeManifest{}, blobs: map[digest.Digest][]byte{}}
}

// moment gives a test its turn.
func (f *fakeRepo) moment(op string) error {
	f.mu.Lock()
	before := f.before
	f.mu.Unlock()
	if before == nil {
		return nil
	}
	return before(op)
}

func (f *fakeRepo) Tags(context.Context) ([]string, error) {
	if err := f.moment("tags"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.tags)), nil
}

func (f *fakeRepo) Get(_ context.Context, name string) (ocispec.Descriptor, []byte, error) {
	if err := f.moment("get " + name); err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	d, ok := f.tags[name]
	if !ok {
		d = digest.Digest(name)
	}
	m, ok := f.manifests[d]
	if !ok {
		return ocispec.Descriptor{}, nil, &transport.NotFoundError{Ref: "fake", What: name}
	}
	return ocispec.Descriptor{MediaType: m.mediaType, Digest: d, Size: int64(len(m.body))}, bytes.Clone(m.body), nil
}

func (f *fakeRepo) Put(_ context.Context, tag, mediaType string, body []byte, o transport.PutOptions) (ocispec.Descriptor, error) {
	if err := f.moment("put " + tag); err != nil {
		return ocispec.Descriptor{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stubborn && o.IfMatch != "" || f.cas && o.IfMatch != "" && f.tags[tag] != o.IfMatch {
		return ocispec.Descriptor{}, fmt.Errorf("put %q: %w", tag, transport.ErrChanged)
	}
	f.puts = append(f.puts, tag)
	return f.store(tag, mediaType, body), nil
}

// store puts something there behind the back of everybody.
func (f *fakeRepo) store(tag, mediaType string, body []byte) ocispec.Descriptor {
	d := digest.FromBytes(body)
	f.manifests[d] = fakeManifest{mediaType, bytes.Clone(body)}
	if tag != "" {
		f.tags[tag] = d
	}
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(body))}
}

// set is store for tests.
func (f *fakeRepo) set(tag, mediaType string, body []byte) ocispec.Descriptor {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.store(tag, mediaType, body)
}

func (f *fakeRepo) Blob(_ context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, ok := f.blobs[d.Digest]
	if !ok {
		return nil, &transport.NotFoundError{Ref: "fake", What: d.Digest.String()}
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (f *fakeRepo) Copy(ctx context.Context, src transport.Source, d ocispec.Descriptor) error {
	if err := f.moment("copy"); err != nil {
		return err
	}
	raw, mt, err := src.Manifest(ctx, d)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.store("", mt, raw)
	return nil
}

func (f *fakeRepo) Lock(context.Context) (func(), error) { return func() {}, nil }

// body gives what a tag names.
func (f *fakeRepo) body(tag string) []byte {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	m, ok := f.manifests[f.tags[tag]]
	if !ok {
		f.t.Fatalf("nothing has the tag %q", tag)
	}
	return m.body
}

// putsOf counts the writes of a tag.
func (f *fakeRepo) putsOf(tag string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, p := range f.puts {
		if p == tag {
			n++
		}
	}
	return n
}

// quick are options of tests: no waiting.
func quick(t *testing.T) Options {
	return Options{Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }, Log: t.Logf}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := encode(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// childOf makes the manifest of a netboot image that names its index.
func childOf(t *testing.T, index, platform, content string) []byte {
	t.Helper()
	return mustJSON(t, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromString("config " + content), Size: 1},
		Layers: []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: digest.FromString(content), Size: 1}},
		Annotations: map[string]string{
			spec.LabelVersion: "1", spec.AnnotationDiskType: spec.DiskTypeNetboot,
			spec.AnnotationIndexTag: index, spec.AnnotationIndexPlatform: platform,
		},
	})
}

// push publishes a child as a build does.
func (f *fakeRepo) push(index, platform, content string) ocispec.Descriptor {
	f.t.Helper()
	p, err := spec.ParseIndexPlatform(platform)
	if err != nil {
		f.t.Fatal(err)
	}
	tag, err := ChildTag(index, ocispec.Descriptor{Platform: p.OCI(), Annotations: map[string]string{annotationDiskType: spec.DiskTypeNetboot}})
	if err != nil {
		f.t.Fatal(err)
	}
	return f.set(tag, ocispec.MediaTypeImageManifest, childOf(f.t, index, platform, content))
}

// entriesOf parses an index.
func entriesOf(t *testing.T, body []byte) []ocispec.Descriptor {
	t.Helper()
	var x ocispec.Index
	if err := json.Unmarshal(body, &x); err != nil {
		t.Fatal(err)
	}
	return x.Manifests
}

// platforms gives the platforms of the entries of an index, in order.
func platforms(t *testing.T, body []byte) []string {
	t.Helper()
	var all []string
	for _, d := range entriesOf(t, body) {
		all = append(all, platformString(d.Platform))
	}
	return all
}
