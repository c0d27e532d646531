package extract

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"sort"

	"github.com/nbpack/nbpack/internal/archive"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// intake reads the layers of one image and hands their content to a stage,
// proving all of it on the way: blob digest and size by the transport, diff
// ID, and every file against SHA256SUM.
type intake struct {
	src      transport.Source
	target   *target
	known    layerIndex
	stage    stager
	progress transport.Progress

	sums    map[string]string // path → sha256; nil until SHA256SUM was found
	sumList []spec.Sum
	entries map[int][]spec.Entry // by layer, as they stand in it
	staged  map[string]spec.Entry
	seen    map[string]spec.EntryType // every path so far, parents included
	reused  map[string]string         // files that the boot directory had, path → sha256
	asked   bool                      // the boot directory was asked for all listed files
	count   int                       // of entries and of directories above them
	names   int                       // bytes of their names and targets
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

// stagedFile is a file of a stage that is being written. Close proves that it
// holds what sha256 says, as read back from the disk.
type stagedFile interface {
	io.Writer
	Close(sha256 string) error
	Abort()
}

func newIntake(src transport.Source, t *target, known layerIndex, s stager, p transport.Progress) *intake {
	return &intake{
		src: src, target: t, known: known, stage: s, progress: p,
		entries: map[int][]spec.Entry{}, staged: map[string]spec.Entry{}, seen: map[string]spec.EntryType{},
		reused: map[string]string{},
	}
}

// order lists the layers by size, but a small first one before all others: so
// the checksum list, which decides what else is needed, is found early whoever
// built the image.
func (in *intake) order() []int {
	order := make([]int, len(in.target.layers))
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
	if size := in.target.layers[layer].Size; layer > 0 || size > spec.MaxSumsSize {
		return size
	}
	return 0
}

// reuse takes from the boot directory what the plan believes to be there. What
// turns out to be damaged is left to the layers.
func (in *intake) reuse(ctx context.Context, p *Plan) error {
	in.asked = true
	for i, it := range p.Items {
		if err := ctx.Err(); err != nil {
			return err
		}
		if it.Type != spec.TypeFile || (it.Op != OpKeep && it.Op != OpLink) {
			continue
		}
		if _, done := in.staged[it.Path]; done {
			continue
		}
		if _, listed := in.sums[it.Path]; !listed && it.Path != spec.SumsName {
			continue // a hard link, which gets what its target will have
		}
		if err := in.underFile(it.Path); err != nil {
			return err
		}
		ok, err := in.stage.Reuse(it.Path, it.SHA256, -1)
		if err != nil {
			return fmt.Errorf("reuse %q: %w", it.Path, err)
		}
		if !ok {
			p.Items[i].Op = OpWrite
			continue
		}
		in.staged[it.Path] = spec.Entry{Path: it.Path, Type: spec.TypeFile, SHA256: it.SHA256}
		in.reused[it.Path] = it.SHA256
	}
	return nil
}

// underFile refuses a path below another that SHA256SUM lists as a file.
func (in *intake) underFile(p string) error {
	for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
		if _, listed := in.sums[dir]; listed {
			return spec.Refuse(spec.RulePathParent, p, "SHA256SUM lists %q above it as a file", dir)
		}
	}
	return nil
}

// readRest brings in every layer that was not read yet. A recorded layer whose
// files are all at hand is replayed from the record.
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

// replayable says whether a layer is recorded and all its files are staged.
func (in *intake) replayable(layer int) bool {
	known, ok := in.known[in.target.layers[layer].DiffID]
	if !ok {
		return false
	}
	for _, e := range known.layer.Entries {
		if e.Type != spec.TypeFile {
			continue
		}
		if have, ok := in.staged[e.Path]; !in.isEntryLinkCopy(e) && (!ok || have.SHA256 != e.SHA256) {
			return false
		}
	}
	return true
}

func (in *intake) replay(layer int) (bool, error) {
	if !in.replayable(layer) {
		return false, nil
	}
	known := in.known[in.target.layers[layer].DiffID]
	in.entries[layer] = []spec.Entry{}
	for _, e := range known.layer.Entries {
		e.Layer = layer
		if err := in.fits(e); err != nil {
			return false, err
		}
		in.entries[layer] = append(in.entries[layer], e)
		if err := in.place(e); err != nil {
			return false, err
		}
		if _, ok := in.staged[e.Path]; ok {
			in.staged[e.Path] = e // now with its size
		}
	}
	return true, nil
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

// readLayer streams one layer: blob → decompression → entries → stage.
func (in *intake) readLayer(ctx context.Context, layer int) (err error) {
	desc := in.target.manifest.Layers[layer]
	blob, err := in.src.Blob(ctx, desc)
	if err != nil {
		return fmt.Errorf("fetch layer %s: %w", desc.Digest, err)
	}
	defer blob.Close()
	lr, err := archive.NewLayerReader(ctx, in.watch(blob, layer), desc, layer)
	if err != nil {
		return fmt.Errorf("layer %s: %w", desc.Digest, err)
	}
	defer lr.Close()
	in.entries[layer] = []spec.Entry{}
	for {
		e, err := lr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = in.take(ctx, lr, e)
		}
		if err != nil {
			return fmt.Errorf("layer %s: %w", desc.Digest, err)
		}
	}
	// The blob's own digest is known only at its very end.
	if _, err := io.Copy(io.Discard, blob); err != nil {
		return fmt.Errorf("layer %s: %w", desc.Digest, err)
	}
	if want := in.target.layers[layer].DiffID; lr.DiffID().String() != want {
		return spec.Refuse(spec.RuleDiffID, "", "layer %s unpacks to %s, its config promises %s", desc.Digest, lr.DiffID(), want)
	}
	return nil
}

// take stages one entry of a layer and remembers it for the final check.
func (in *intake) take(ctx context.Context, content io.Reader, e spec.Entry) error {
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

// tally counts a name against the bounds of a whole image, the directories that
// only stand above entries too: each becomes a directory on disk and a record.
func (in *intake) tally(name, target string) error {
	in.count++
	in.names += len(name) + len(target)
	if in.count > spec.MaxEntries || in.names > spec.MaxNamesSize {
		return spec.Refuse(spec.RuleEntryCount, name, "the image has more than %d entries, or %d bytes of names", spec.MaxEntries, spec.MaxNamesSize)
	}
	return nil
}

// fits refuses what cannot be staged at all; the rest is left to the check of
// the whole image, which reports every violation.
func (in *intake) fits(e spec.Entry) error {
	if err := in.tally(e.Path, e.Target); err != nil {
		return err
	}
	if e.Path == "." && e.Type == spec.TypeDir {
		return nil
	}
	if err := spec.CheckPath(e.Path); err != nil {
		return err
	}
	if err := in.underFile(e.Path); err != nil {
		return err
	}
	for dir := path.Dir(e.Path); dir != "."; dir = path.Dir(dir) {
		if t, ok := in.seen[dir]; ok && t != spec.TypeDir {
			return spec.Refuse(spec.RulePathParent, e.Path, "%q above it is no directory", dir)
		} else if !ok {
			if err := in.tally(dir, ""); err != nil {
				return err
			}
		}
		in.seen[dir] = spec.TypeDir
	}
	if t, ok := in.seen[e.Path]; ok && (t != spec.TypeDir || e.Type != spec.TypeDir) {
		return spec.Refuse(spec.RulePathTwice, e.Path, "the path occurs twice")
	}
	if _, listed := in.sums[e.Path]; listed && e.Type != spec.TypeFile && e.Type != spec.TypeHardlink {
		return spec.Refuse(spec.RuleSumsExtra, e.Path, "SHA256SUM lists it, but it is no regular file")
	}
	in.seen[e.Path] = e.Type
	return nil
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

func (in *intake) takeFile(content io.Reader, e *spec.Entry) error {
	if e.Path == spec.SumsName {
		return in.takeSums(content, e)
	}
	want, listed := in.sums[e.Path]
	if in.sums != nil && !listed && !in.isEntryLinkCopy(*e) {
		return spec.Refuse(spec.RuleSumsUnlisted, e.Path, "SHA256SUM does not list it")
	}
	have, err := in.haveFile(*e, want)
	if err != nil {
		return err
	}
	if have || in.sums != nil && !listed {
		e.SHA256, err = hashOf(content)
	} else {
		e.SHA256, err = in.write(content, *e, want)
	}
	if err != nil {
		return err
	}
	if listed && want != e.SHA256 {
		return spec.Refuse(spec.RuleSumsMismatch, e.Path, "its sha256 is %s, SHA256SUM says %s", e.SHA256, want)
	}
	if listed || in.sums == nil {
		in.staged[e.Path] = *e
	}
	return nil
}

// foreseen lists what the tree will hold as far as it is known before the
// payload is read: the listed files and, from recorded layers, all the rest.
// complete says that nothing is missing from it.
func (in *intake) foreseen() (entries []spec.Entry, complete bool) {
	var raw []spec.Entry
	complete = true
	for i, l := range in.target.layers {
		if known, ok := in.known[l.DiffID]; ok {
			raw = append(raw, known.layer.Entries...)
		} else if in.entries[i] != nil {
			raw = append(raw, in.entries[i]...)
		} else {
			complete = false
		}
	}
	tree, copies := newTreeEntries(raw, in.sums)
	for _, e := range raw {
		if sum, ok := in.sums[e.Target]; ok && e.Type == spec.TypeHardlink && tree[e.Path].Type == spec.TypeFile {
			e.Type, e.Target, e.SHA256 = spec.TypeFile, "", sum // not what the target was in another image
			tree[e.Path] = e
		}
	}
	for p, sum := range in.sums {
		if _, ok := tree[p]; !ok {
			tree[p] = spec.Entry{Path: p, Type: spec.TypeFile, SHA256: sum}
		}
	}
	tree.linkCopies(copies, in.target.labels)
	tree.entryLinks(in.target.labels)
	return tree.list(), complete
}

// reusedBytes adds up the files that came from the boot directory itself.
func (in *intake) reusedBytes(entries []spec.Entry) int64 {
	var n int64
	for _, e := range entries {
		if _, ok := in.reused[e.Path]; ok {
			n += e.Size
		}
	}
	return n
}
