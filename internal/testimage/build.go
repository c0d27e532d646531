// Package testimage builds OCI image layouts, honest and hostile ones, from
// descriptions that are plain data (testdata/hostile), for tests only. It
// writes every byte itself and shares no code with what it tests.
package testimage

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	ociManifest    = "application/vnd.oci.image.manifest.v1+json"
	ociConfig      = "application/vnd.oci.image.config.v1+json"
	ociIndex       = "application/vnd.oci.image.index.v1+json"
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
	refName        = "org.opencontainers.image.ref.name"
)

// Layout describes an OCI image layout. The root is tagged "latest", others by
// their names.
type Layout struct {
	Root  Node
	Tags  map[string]Node
	Index Doc    // index.json
	Files []Move // last, done to the finished layout

	Algorithm string // of all digests but diff IDs: "sha512", or "" for sha256
}

// Move changes the file system: exactly one of Write (with Data), Symlink (to
// Target), Fifo, Dir, Remove and Sparse (a hole of Size bytes) names a path in
// the layout, ${vars} replaced.
type Move struct {
	Write, Symlink, Fifo, Dir, Remove, Sparse string

	Data   Data
	Target string
	Size   int64
}

// builder is one layout being written.
type builder struct {
	dir       string
	vars      Vars
	algorithm string // of digests: "sha512", or "" for sha256
}

// Build writes the layout into the new directory dir. While it builds it adds
// to vars the hex digests "config", "layer0", "layer1", …, "manifest" and
// "index" of what it wrote last. vars["generation"] makes the contents of the
// good tree differ.
func Build(dir string, l Layout, vars Vars) error {
	b := &builder{dir: dir, vars: vars, algorithm: l.Algorithm}
	if err := os.MkdirAll(filepath.Join(dir, "blobs", b.prefix()), 0o755); err != nil {
		return err
	}
	var entries []json.RawMessage
	for tag, node := range l.Tags {
		desc, err := b.tagged(node, tag)
		if err != nil {
			return err
		}
		entries = append(entries, desc)
	}
	root, err := b.tagged(l.Root, "latest")
	if err != nil {
		return err
	}
	entries = append(entries, root)
	if err := b.writeTop(entries, l.Index); err != nil {
		return err
	}
	for i, m := range l.Files {
		if err := m.apply(dir, vars); err != nil {
			return fmt.Errorf("files[%d]: %w", i, err)
		}
	}
	return nil
}

func (b *builder) tagged(n Node, tag string) (json.RawMessage, error) {
	desc, err := b.node(n)
	if err != nil {
		return nil, err
	}
	key := strings.NewReplacer("~", "~0", "/", "~1").Replace(refName)
	at, name := "/annotations/"+key, json.RawMessage(strconv.Quote(tag))
	return applyEdits(desc, []Edit{{At: &at, Set: name}}, b.vars)
}

func (b *builder) writeTop(entries []json.RawMessage, doc Doc) error {
	top, err := marshal(map[string]any{"schemaVersion": 2, "manifests": entries})
	if err != nil {
		return err
	}
	if top, err = applyEdits(top, doc.Edit, b.vars); err != nil {
		return fmt.Errorf("index.json: %w", err)
	}
	if top, err = applyByteEdits(top, doc.Stored, b.vars); err != nil {
		return fmt.Errorf("index.json: %w", err)
	}
	if err := os.WriteFile(filepath.Join(b.dir, "index.json"), top, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644)
}

// node writes a node and everything below it and gives its descriptor.
func (b *builder) node(n Node) (desc json.RawMessage, err error) {
	switch {
	case n.Raw != nil:
		body := n.Raw.Data.Bytes(b.vars)
		desc, err = b.put("manifest", n.Raw.MediaType, body, Doc{}, nil)
	case n.Index != nil:
		desc, err = b.index(n.Index)
	case n.Image != nil:
		desc, err = b.image(n.Image)
	case n.Artifact != nil:
		desc, err = b.artifact(n.Artifact)
	default:
		desc, err = b.image(&Image{})
	}
	if err != nil {
		return nil, err
	}
	if n.Platform != nil {
		at := "/platform"
		if desc, err = applyEdits(desc, []Edit{{At: &at, Set: n.Platform}}, b.vars); err != nil {
			return nil, err
		}
	}
	if desc, err = applyEdits(desc, n.Descriptor, b.vars); err != nil {
		return nil, fmt.Errorf("descriptor: %w", err)
	}
	for range n.Wrap {
		width := make([]json.RawMessage, max(1, n.Width))
		for i := range width {
			width[i] = desc
		}
		if desc, err = b.putIndex(width, Doc{}); err != nil {
			return nil, err
		}
	}
	return desc, nil
}

func (b *builder) index(x *Index) (json.RawMessage, error) {
	entries := []json.RawMessage{}
	for i, n := range x.Manifests {
		desc, err := b.node(n)
		if err != nil {
			return nil, fmt.Errorf("manifests[%d]: %w", i, err)
		}
		entries = append(entries, desc)
	}
	return b.putIndex(entries, x.Doc)
}

func (b *builder) putIndex(entries []json.RawMessage, doc Doc) (json.RawMessage, error) {
	body, err := marshal(map[string]any{"schemaVersion": 2, "mediaType": ociIndex, "manifests": entries})
	if err != nil {
		return nil, err
	}
	return b.put("index", ociIndex, body, doc, nil)
}

func (b *builder) image(m *Image) (json.RawMessage, error) {
	layers := m.layers(b.vars)
	if err := b.fillSums(m, layers); err != nil {
		return nil, err
	}
	descs, diffIDs := []json.RawMessage{}, []string{}
	for i, l := range layers {
		desc, digest, diffID, err := b.writeLayer(l, m.Docker)
		if err != nil {
			return nil, fmt.Errorf("layer %d: %w", i, err)
		}
		b.vars["layer"+strconv.Itoa(i)] = digest
		descs, diffIDs = append(descs, desc), append(diffIDs, "sha256:"+diffID)
	}
	manifestType, configType := ociManifest, ociConfig
	if m.Docker {
		manifestType, configType = dockerManifest, dockerConfig
	}
	labels, annotations := m.labels(b.vars)
	config, err := marshal(map[string]any{
		"architecture": "amd64", "os": "linux",
		"config": map[string]any{"Labels": labels},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs},
	})
	if err != nil {
		return nil, err
	}
	configDesc, err := b.put("config", configType, config, m.Config, nil)
	if err != nil {
		return nil, err
	}
	manifest, err := marshal(map[string]any{
		"schemaVersion": 2, "mediaType": manifestType, "config": configDesc,
		"layers": descs, "annotations": annotations,
	})
	if err != nil {
		return nil, err
	}
	return b.put("manifest", manifestType, manifest, m.Manifest, nil)
}

// put stores a JSON document under the name that its edits give it.
func (b *builder) put(name, mediaType string, body []byte, doc Doc, edits []Edit) (json.RawMessage, error) {
	body, err := applyEdits(body, doc.Edit, b.vars)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	digest, size := hexOf(b.algorithm, body), int64(len(body))
	if body, err = applyByteEdits(body, doc.Stored, b.vars); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	b.vars[name] = digest
	if err := os.WriteFile(b.blobPath(digest), body, 0o644); err != nil {
		return nil, err
	}
	return b.descriptor(mediaType, digest, size, edits)
}

func (b *builder) descriptor(mediaType, digest string, size int64, edits []Edit) (json.RawMessage, error) {
	desc, err := marshal(map[string]any{"mediaType": mediaType, "digest": b.prefix() + ":" + digest, "size": size})
	if err != nil {
		return nil, err
	}
	return applyEdits(desc, edits, b.vars)
}

func (b *builder) blobPath(digest string) string {
	return filepath.Join(b.dir, "blobs", b.prefix(), digest)
}

func (b *builder) prefix() string {
	if b.algorithm == "" {
		return "sha256"
	}
	return b.algorithm
}
