package extract

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sort"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/extract/resolve"
	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// intake reads the layers of one image and hands their content to a stage,
// proving all of it on the way: blob digest and size by the transport, what the
// manifest says of a layer by the layer's own reader, and every file against
// what is promised of it.
type intake struct {
	src      transport.Source
	target   *resolve.Target
	layers   []layer // of the target, in its order
	known    layerIndex
	stage    stager
	progress transport.Progress

	// sums is what is promised of each path, sha256: by the manifest of an
	// artifact, and by SHA256SUM once that was found. It is exact from then
	// on: it lists all that there may be.
	sums    map[string]string
	sumList []spec.Sum
	exact   bool

	entries map[int][]spec.Entry // by layer, as they stand in it
	staged  map[string]spec.Entry
	content map[string]string         // sha256 → path of a staged file
	seen    map[string]spec.EntryType // every path so far, parents included
	reused  map[string]string         // files that the boot directory had, path → sha256
	asked   bool                      // the boot directory was asked for all promised files
	// Of the boot directory, where there is one: see survey.go and parts.go.
	stock    stock
	dir      *bootdir.Dir
	disk     *bootdir.Stage     // nil in a dry run
	old      []spec.Entry       // the tree as it stands
	prints   map[int]*blueprint // by layer; nil for one that is read as a whole
	drawn    map[string]int64   // files of blueprints, with their sizes
	loose    map[string]bool    // staged files that the proof of their layer will read
	spoiled  map[string]bool    // files that were not what the record says
	lists    map[int][]keptList // chunk lists to keep, by layer
	listed   string             // sha256 of the SHA256SUM that sums are from; empty while not known
	peeked   string             // the same, where tables led to it
	frugal   bool               // findSums reads no large layer
	noResume bool               // beginnings of blobs are not used
	resumed  bool               // one was used
	logf     func(string, ...any)

	count int // of entries and of directories above them
	names int // bytes of their names and targets
}

// stock tells what the records promise of the disk.
type stock interface {
	holdings
	Chunks(image, sum string) []byte
}

// stager is where content goes: a bootdir stage, or nowhere in a dry run.
type stager interface {
	Reuse(path, sha256 string, size int64) (bool, error)
	Create(path string, size int64) (stagedFile, error)
	Link(path, staged string) error
	Remove(path string) error
	Mkdir(path string) error
	Symlink(path, target string) error
}

// stagedFile is a file of a stage that is being written. Close proves that the disk
// has what was written, and takes the writer's word, sha256, for what that is; without
// Digested before the first byte it proves that, too.
type stagedFile interface {
	io.Writer
	Digested()
	Close(sha256 string) error
	Abort()
	Suspend()
}

func newIntake(src transport.Source, t *resolve.Target, known layerIndex, s stager, p transport.Progress) *intake {
	in := &intake{
		src: src, target: t, layers: layersOf(t), known: known, stage: s, progress: p,
		entries: map[int][]spec.Entry{}, staged: map[string]spec.Entry{}, content: map[string]string{},
		seen: map[string]spec.EntryType{}, reused: map[string]string{},
		stock: nowhere{}, prints: map[int]*blueprint{}, drawn: map[string]int64{}, loose: map[string]bool{},
		spoiled: map[string]bool{}, lists: map[int][]keptList{}, logf: func(string, ...any) {},
	}
	if t.Form.NamesFiles() {
		in.sums = in.promises()
	}
	return in
}

// order lists the layers by size, but a small first one before all others: so
// the checksum list, which decides what else is needed, is found early whoever
// built the image.
func (in *intake) order() []int {
	order := make([]int, len(in.layers))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool {
		return in.weight(order[a]) < in.weight(order[b])
	})
	return order
}

// weight is the size of a layer in bytes, 0 for a first one that may hold the
// list alone, as the format wants it.
func (in *intake) weight(layer int) int64 {
	if size := in.layers[layer].blob().Size; layer > 0 || size > spec.MaxSumsSize {
		return size
	}
	return 0
}

// readRest brings in every layer that was not read yet. A layer whose files are
// all at hand is replayed from what is known of it.
func (in *intake) readRest(ctx context.Context) error {
	for _, i := range in.order() {
		if in.entries[i] != nil {
			continue
		}
		replayed, err := in.replay(i)
		if err == nil && !replayed {
			err = in.readLayer(ctx, i)
		}
		if err != nil {
			return err
		}
	}
	return in.linkAll()
}

// readLayer brings in one layer: in parts if that is cheaper, else as a whole.
func (in *intake) readLayer(ctx context.Context, i int) error {
	done, err := in.readParts(ctx, i)
	if done || err != nil {
		return err
	}
	return in.readWhole(ctx, i)
}

// readWhole streams one layer: blob → decompression → entries → stage.
func (in *intake) readWhole(ctx context.Context, i int) (err error) {
	l := in.layers[i]
	desc := l.blob()
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", layerName(desc), err)
		}
	}()
	blob, err := in.openBlob(ctx, l)
	if err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	defer func() { blob.close(err) }()
	defer func() { err = transport.Blame(blob.blob, err) }()
	r, err := l.open(ctx, in.watch(blob, desc))
	if err != nil {
		return err
	}
	defer r.Close()
	in.entries[i] = []spec.Entry{}
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = in.take(ctx, r, e)
		}
		if err != nil {
			return err
		}
	}
	// The blob's own digest is known only at its very end.
	if _, err = io.Copy(io.Discard, blob); err == nil {
		in.keepList(blob.layer, blob.toc, blob.list())
	}
	return err
}

// layerName names a layer in an error, by its file where it has one.
func layerName(d ocispec.Descriptor) string {
	if title := d.Annotations[ocispec.AnnotationTitle]; title != "" {
		return fmt.Sprintf("layer %s of %q", d.Digest, title)
	}
	return fmt.Sprintf("layer %s", d.Digest)
}

// take stages one entry of a layer and remembers it for the final check.
func (in *intake) take(ctx context.Context, content contentReader, e spec.Entry) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := in.fits(e); err != nil {
		return err
	}
	var err error
	switch e.Type {
	case spec.TypeFile:
		err = in.takeFile(content, &e)
	case spec.TypeHardlink: // its target may be in a layer that is read later
	default:
		err = in.place(e)
	}
	if err != nil {
		return err
	}
	in.entries[e.Layer] = append(in.entries[e.Layer], e)
	return nil
}

// place stages an entry that carries no content of its own.
func (in *intake) place(e spec.Entry) error {
	switch e.Type {
	case spec.TypeDir:
		if e.Path == "." {
			return nil
		}
		return in.stage.Mkdir(e.Path)
	case spec.TypeSymlink:
		return in.stage.Symlink(e.Path, e.Target)
	}
	return nil
}

// hold remembers a file that is staged.
func (in *intake) hold(e spec.Entry) {
	in.staged[e.Path] = e
	if _, ok := in.content[e.SHA256]; !ok {
		in.content[e.SHA256] = e.Path
	}
}

// haveFile says whether a file needs no writing. Where list and payload are in
// one layer, the boot directory was not asked yet.
func (in *intake) haveFile(e spec.Entry, want string) (bool, error) {
	if _, have := in.staged[e.Path]; have || want == "" || in.asked {
		return have, nil
	}
	ok, err := in.stage.Reuse(e.Path, want, e.Size)
	if ok {
		in.reused[e.Path] = want
	}
	return ok, err
}

func (in *intake) takeFile(content contentReader, e *spec.Entry) error {
	if e.Path == spec.SumsName {
		return in.takeSums(content, e)
	}
	want, promised := in.sums[e.Path]
	if in.exact && !promised && !in.isEntryLinkCopy(*e) {
		return spec.Refuse(spec.RuleSumsUnlisted, e.Path, "SHA256SUM does not list it")
	}
	have, err := in.haveFile(*e, want)
	if err != nil {
		return err
	}
	if have || in.exact && !promised {
		e.Size, err = io.Copy(io.Discard, content)
		e.SHA256 = content.SHA256()
	} else {
		err = in.write(content, e, want)
	}
	if err != nil {
		return err
	}
	if promised && want != e.SHA256 {
		return in.mismatch(*e, want)
	}
	if promised || !in.exact {
		in.hold(*e)
	}
	return nil
}

// mismatch refuses content that is not the promised one.
func (in *intake) mismatch(e spec.Entry, want string) error {
	if in.exact {
		return spec.Refuse(spec.RuleSumsMismatch, e.Path, "its sha256 is %s, SHA256SUM says %s", e.SHA256, want)
	}
	return spec.Refuse(spec.RuleDigest, e.Path, "its sha256 is %s, the manifest says %s", e.SHA256, want)
}
