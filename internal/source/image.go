package source

import (
	"context"
	"errors"
	"fmt"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/archive"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// imageSource is an image that files are taken from.
type imageSource struct {
	s        *Set
	o        *opened
	src      transport.Source
	manifest *ocispec.Manifest
	config   *ocispec.Image // nil where the layers are named files
	labels   map[string]string
}

// image opens an image as a source: one that nbpack made, or the result of a
// Containerfile, or an artifact whose layers are files. Everything that is read
// is compared with its digest, so it needs no second look; what a tag names
// later does not matter.
func (s *Set) image(ctx context.Context, name, at string) (*opened, error) {
	if s.o.Client == nil {
		return nil, usage("", "image %q cannot be a source here", name)
	}
	if s.o.Plain {
		return nil, usage("name files, or use --format image or artifact", "with --format file each source is a file, and %q is an image", name)
	}
	ref, err := transport.ParseReference(at)
	if err != nil {
		return nil, err
	}
	src, err := s.o.Client.Source(ctx, ref)
	if err != nil {
		return nil, err
	}
	i := &imageSource{s: s, o: &opened{name: name, close: src.Close}, src: src}
	if err := i.read(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("source %q: %w", name, err), src.Close())
	}
	return i.o, nil
}

func (i *imageSource) read(ctx context.Context) error {
	desc, err := i.src.Resolve(ctx)
	if err != nil {
		return err
	}
	if err := i.find(ctx, desc, 0); err != nil {
		return err
	}
	if spec.FormOf(i.manifest, nil).NamesFiles() {
		i.labels = i.manifest.Annotations
		i.say(nil)
		return i.files(ctx)
	}
	if err := i.readConfig(ctx); err != nil {
		return err
	}
	if i.labels, err = spec.MergeLabels(i.config.Config.Labels, i.manifest.Annotations); err != nil {
		return err
	}
	i.say(i.config)
	return i.layers(ctx)
}

// find reads the manifest, below indexes if there are any.
func (i *imageSource) find(ctx context.Context, desc ocispec.Descriptor, depth int) error {
	if depth > spec.MaxIndexDepth {
		return spec.Refuse(spec.RuleIndexDepth, "", "indexes are nested more than %d deep", spec.MaxIndexDepth)
	}
	raw, mediaType, err := i.src.Manifest(ctx, desc)
	if err != nil {
		return err
	}
	if !spec.IsIndex(mediaType) {
		i.o.manifest = desc.Digest
		i.manifest, err = spec.ParseManifest(mediaType, raw)
		return err
	}
	index, err := spec.ParseIndex(mediaType, raw)
	if err != nil {
		return err
	}
	next, err := choose(index.Manifests, i.s.o.Platform)
	if err != nil {
		return err
	}
	return i.find(ctx, next, depth+1)
}

// choose gives the only entry of an index that fits.
func choose(entries []ocispec.Descriptor, want spec.Platform) (ocispec.Descriptor, error) {
	var have []spec.Platform
	var fit []ocispec.Descriptor
	hint := "name one of them by its digest, or say --platform:"
	for _, d := range entries {
		p, ok := spec.PlatformOf(d.Platform)
		if !ok && d.Platform != nil {
			continue // an attestation, say
		}
		have, fit = append(have, p), append(fit, d)
		if len(fit) <= 6 {
			hint += fmt.Sprintf(" @%s (%s)", d.Digest, p)
		}
	}
	if want != (spec.Platform{}) {
		var chosen []ocispec.Descriptor
		for _, n := range spec.Select(want, have) {
			chosen = append(chosen, fit[n])
		}
		fit = chosen
	}
	if len(fit) != 1 {
		return ocispec.Descriptor{}, usage(hint, "the index has %d images that could be meant", len(fit))
	}
	return fit[0], nil
}

func (i *imageSource) readConfig(ctx context.Context) error {
	c := i.manifest.Config
	if c.Size > spec.MaxManifestSize {
		return spec.Refuse(spec.RuleDocumentSize, "", "the config has %d bytes, %d are permitted", c.Size, spec.MaxManifestSize)
	}
	body, err := i.src.Blob(ctx, c)
	if err != nil {
		return err
	}
	defer body.Close()
	raw, err := io.ReadAll(body)
	if err != nil {
		return fmt.Errorf("reading the config: %w", err)
	}
	i.config, err = spec.ParseConfig(raw)
	return err
}

// say notes what the image says about itself. The platform of an image that is
// no netboot image is that of the machine that built it, so it says nothing.
func (i *imageSource) say(config *ocispec.Image) {
	if !i.netboot() {
		return
	}
	f := &facts{from: i.o.name}
	f.add(FactOSName, i.labels[spec.LabelOSName], "")
	f.add(FactOSVersion, i.labels[spec.LabelOSVersion], "")
	if config != nil {
		if p, ok := spec.PlatformOf(&config.Platform); ok {
			f.add(FactPlatform, p.String(), "")
		}
	} else {
		f.add(FactPlatform, i.labels[spec.LabelOSArch], "")
	}
	f.add(FactEntrypoint, i.labels[spec.LabelEntrypoint], "")
	f.add(FactAltEntrypoint, i.labels[spec.LabelAltEntrypoint], "")
	f.add(FactLegacyEntrypoint, i.labels[spec.LabelLegacyEntrypoint], "")
	i.o.facts = f.list
}

func (i *imageSource) netboot() bool { return i.labels[spec.LabelVersion] != "" }

// blobFile is a file that is a blob of its own.
type blobFile struct {
	src   transport.Source
	desc  ocispec.Descriptor
	codec spec.Codec
}

// open implements content.
func (b *blobFile) open(ctx context.Context) (io.ReadCloser, error) {
	body, err := b.src.Blob(ctx, b.desc)
	if err != nil {
		return nil, err
	}
	if b.codec == spec.CodecNone {
		return body, nil
	}
	r, err := archive.NewFileReader(ctx, body, b.codec, b.desc)
	if err != nil {
		return nil, errors.Join(err, body.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{r, unpacked{r, body}}, nil
}

// unpacked closes a reader and what it reads from.
type unpacked struct {
	r    *archive.FileReader
	body io.Closer
}

// Close implements io.Closer.
func (u unpacked) Close() error {
	u.r.Close()
	return u.body.Close()
}

// files takes the files of an artifact. They are fetched when they are packed.
func (i *imageSource) files(ctx context.Context) error {
	c := newCollector(i.s, i.o.name, rule{})
	for _, desc := range i.manifest.Layers {
		file, ok, err := spec.ParseArtifactLayer(desc)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if file.Dir {
			return refuse(RuleType, file.Path, "pull it with nbextract, and pack the directory", "is a directory packed as one layer, which is not supported as a source")
		}
		m := member{name: file.Path, kind: spec.TypeFile, size: desc.Size, at: &blobFile{i.src, desc, spec.CodecNone}}
		if file.Codec != spec.CodecNone {
			blob := &blobFile{i.src, desc, file.Codec}
			if m, err = i.kept(ctx, c, m, blob); err != nil {
				return err
			}
		}
		if err := c.add(ctx, m, nil); err != nil {
			return err
		}
	}
	i.o.entries = c.entries
	return nil
}

// kept keeps a compressed file, whose size only its content tells.
func (i *imageSource) kept(ctx context.Context, c *collector, m member, blob *blobFile) (member, error) {
	if _, wanted := c.choose(m.name, m); !wanted {
		return m, nil
	}
	r, err := blob.open(ctx)
	if err != nil {
		return m, err
	}
	defer r.Close()
	p, _, err := i.s.spool.add(ctx, r, -1)
	m.at, m.size = p, p.size
	return m, err
}
