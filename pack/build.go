package pack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nbpack/nbpack/internal/archive"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Build writes the planned image to dst. It reads each source file once, in
// pieces, and looks at all sources again at the end: if anything changed since
// Scan, or the image breaks any rule of the format, nothing is published. The tag
// is written last.
func Build(ctx context.Context, c *transport.Client, plan *Plan, dst transport.Reference) (*Result, error) {
	if err := plan.CheckDestination(dst); err != nil {
		return nil, err
	}
	stage, err := c.NewStage(ctx, dst)
	if err != nil {
		return nil, fmt.Errorf("preparing %q: %w", dst, err)
	}
	result, err := (&builder{ctx: ctx, plan: plan, stage: stage}).build(dst)
	if cerr := stage.Close(); err == nil && cerr != nil {
		plan.options.log("removing what is left of the work: %v", cerr)
	}
	return result, err
}

// CheckDestination refuses to write an image below a source, where the next
// build would pack it.
func (p *Plan) CheckDestination(dst transport.Reference) error {
	if !dst.IsLocal() {
		return nil
	}
	out, err := realPath(dst.Name)
	if err != nil {
		return fmt.Errorf("looking at destination %q: %w", dst, err)
	}
	for _, source := range p.options.Sources {
		in, err := realPath(source)
		if err != nil {
			return fmt.Errorf("looking at source %q: %w", source, err)
		}
		if out == in || strings.HasPrefix(out, strings.TrimSuffix(in, "/")+"/") {
			return badOption("write the image to another place", "destination %q lies in source %q", dst, source)
		}
	}
	return nil
}

// realPath gives an absolute path without links, also if its end does not exist.
func realPath(name string) (string, error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(abs)
	if errors.Is(err, fs.ErrNotExist) && filepath.Dir(abs) != abs {
		dir, err := realPath(filepath.Dir(abs))
		return filepath.Join(dir, filepath.Base(abs)), err
	}
	return real, err
}

// builder is one run of Build.
type builder struct {
	ctx   context.Context
	plan  *Plan
	stage *transport.Stage

	roots   map[string]*os.Root // open sources
	read    int64               // bytes of the sources so far
	layers  []ocispec.Descriptor
	diffIDs []digest.Digest
	entries []spec.Entry
	sums    []spec.Sum
}

func (b *builder) build(dst transport.Reference) (*Result, error) {
	b.roots = map[string]*os.Root{}
	defer b.closeRoots()
	for i := range b.plan.Layers {
		if err := b.payloadLayer(i+1, &b.plan.Layers[i]); err != nil {
			return nil, err
		}
	}
	if err := b.recheck(); err != nil {
		return nil, err
	}
	if err := b.sumsLayer(); err != nil {
		return nil, err
	}
	return b.publish(dst)
}

// modTime is the time of all entries.
func (b *builder) modTime() time.Time {
	if b.plan.Created != nil {
		return *b.plan.Created
	}
	return time.Unix(0, 0)
}

// layer writes a layer blob whose tar write fills.
func (b *builder) layer(c archive.Compression, size int64, write func(*archive.TarWriter) error) (ocispec.Descriptor, digest.Digest, error) {
	var desc ocispec.Descriptor
	var diffID digest.Digest
	stored, err := b.stage.PutBlob(b.ctx, func(w io.Writer) error {
		l, err := archive.NewLayerWriter(w, c, archive.WithPayloadSize(size))
		if err != nil {
			return err
		}
		defer l.Abort()
		t := archive.NewTarWriter(l, b.modTime())
		if err := write(t); err != nil {
			return err
		}
		if err := t.Close(); err != nil {
			return err
		}
		desc, diffID, err = l.Close()
		return err
	})
	if err == nil && (stored.Digest != desc.Digest || stored.Size != desc.Size) {
		err = fmt.Errorf("layer %s was stored as %s", desc.Digest, stored.Digest)
	}
	return desc, diffID, err
}

// payloadLayer writes one planned layer; index counts from the layer of
// SHA256SUM, which is 0.
func (b *builder) payloadLayer(index int, l *PlanLayer) error {
	desc, diffID, err := b.layer(b.plan.Compression, l.size(), func(t *archive.TarWriter) error {
		for i := range l.Entries {
			if err := b.entry(t, index, &l.Entries[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("packing: %w", err)
	}
	b.layers, b.diffIDs = append(b.layers, desc), append(b.diffIDs, diffID)
	return nil
}

// entry writes one entry and notes what was written.
func (b *builder) entry(t *archive.TarWriter, layer int, e *Entry) error {
	done := spec.Entry{Layer: layer, Path: e.Path, Type: e.Type, Size: e.Size, Target: e.Target, ModTime: b.modTime().Unix()}
	switch e.Type {
	case spec.TypeDir:
		done.Mode = 0o755
		if err := t.Dir(e.Path); err != nil {
			return err
		}
	case spec.TypeSymlink:
		done.Mode = 0o777
		if err := t.Symlink(e.Path, e.Target); err != nil {
			return err
		}
	default:
		done.Mode = 0o444
		sum, err := b.file(t, e)
		if err != nil {
			return err
		}
		done.SHA256 = sum
		b.sums = append(b.sums, spec.Sum{Path: e.Path, SHA256: sum})
	}
	b.entries = append(b.entries, done)
	return nil
}

// file streams one source file into the tar, if it is still the file that Scan
// saw, before and after.
func (b *builder) file(t *archive.TarWriter, e *Entry) (string, error) {
	root, err := b.root(e.node.source)
	if err != nil {
		return "", err
	}
	// Without O_NONBLOCK the open would wait for ever if a pipe took the place
	// of the file meanwhile.
	f, err := root.OpenFile(filepath.FromSlash(e.node.rel), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ELOOP) {
		return "", changed(e.node.name)
	}
	if err != nil {
		return "", fmt.Errorf("opening %q: %w", e.Source, err)
	}
	defer f.Close()
	if err := b.still(e, f); err != nil {
		return "", err
	}
	sum, err := t.File(e.Path, e.Size, &sourceReader{b: b, f: f})
	if errors.Is(err, archive.ErrSourceChanged) {
		return "", changed(e.node.name)
	}
	if err != nil {
		return "", fmt.Errorf("reading %q: %w", e.Source, err)
	}
	if err := b.still(e, f); err != nil {
		return "", err
	}
	return sum, b.plan.checkSum(e, sum)
}

// still compares the open file with what Scan saw.
func (b *builder) still(e *Entry, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("looking at %q: %w", e.Source, err)
	}
	if !sameFile(e.node.info, info) {
		return changed(e.node.name)
	}
	return nil
}

// root opens a source, once.
func (b *builder) root(source string) (*os.Root, error) {
	if r, ok := b.roots[source]; ok {
		return r, nil
	}
	r, _, _, err := openSource(source)
	if err == nil {
		b.roots[source] = r
	}
	return r, err
}

func (b *builder) closeRoots() {
	for _, r := range b.roots {
		_ = r.Close() // nothing was written through it
	}
}

// recheck looks at all sources again. Each file held still while it was read;
// this finds one that changed before its turn or after it, and names that came
// or went.
func (b *builder) recheck() error {
	o := &b.plan.options
	f, err := newFilter(o.Include, o.Exclude)
	if err != nil {
		return err
	}
	now, err := scanSources(b.ctx, o, f)
	if errors.Is(err, context.Canceled) {
		return err
	}
	if err != nil {
		return fmt.Errorf("looking at the sources again: %w", err)
	}
	if name := sameNodes(b.plan.nodes, now); name != "" {
		return changed(name)
	}
	return nil
}

// sumsLayer writes the layer that goes before all others. Its codec is one that
// every container tool of the last years can read, whatever the payload's is.
func (b *builder) sumsLayer() error {
	c := archive.Gzip
	if b.plan.Compression == archive.None {
		c = archive.None
	}
	content := spec.FormatSums(b.sums)
	entry := spec.Entry{Path: spec.SumsName, Type: spec.TypeFile, Size: int64(len(content)), Mode: 0o444, ModTime: b.modTime().Unix()}
	desc, diffID, err := b.layer(c, entry.Size, func(t *archive.TarWriter) error {
		var err error
		entry.SHA256, err = t.File(spec.SumsName, entry.Size, bytes.NewReader(content))
		return err
	})
	if err != nil {
		return fmt.Errorf("packing %s: %w", spec.SumsName, err)
	}
	b.layers = append([]ocispec.Descriptor{desc}, b.layers...)
	b.diffIDs = append([]digest.Digest{diffID}, b.diffIDs...)
	b.entries = append([]spec.Entry{entry}, b.entries...)
	return nil
}

// sourceReader reads a source file, counts for the progress, and ends when the
// context does.
type sourceReader struct {
	b *builder
	f *os.File
}

func (r *sourceReader) Read(p []byte) (int, error) {
	if err := r.b.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.f.Read(p)
	r.b.read += int64(n)
	if report := r.b.plan.options.Progress; report != nil && n > 0 {
		report("packing", r.b.read, r.b.plan.Size)
	}
	return n, err
}
