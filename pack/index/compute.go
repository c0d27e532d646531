package index

import (
	"slices"
	"strings"

	"github.com/nbpack/nbpack/internal/ociindex"
	"github.com/nbpack/nbpack/spec"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// wish is an entry that the index shall have.
type wish struct {
	tag   string // its child tag
	entry ocispec.Descriptor
	keys  []string
	asked bool // by the user of this run, not by a tag that others wrote
}

// target is what an index shall become.
type target struct {
	index string // its tag
	live  []wish
	dead  []ocispec.Descriptor // entries that were removed
	lost  []seenEntry          // foreign entries that vanished
	past  *history
	log   func(format string, a ...any)
}

// edit is an index under change.
type edit struct {
	doc     *ociindex.Document
	changes []Change
}

// compute changes an index as little as the target needs. What it gives back
// is a fixed point: computing again changes nothing.
func compute(doc *ociindex.Document, t target) (*edit, error) {
	slices.SortStableFunc(t.live, func(a, b wish) int {
		if d := int(rankOf(a.entry)) - int(rankOf(b.entry)); d != 0 {
			return d
		}
		return strings.Compare(a.tag, b.tag)
	})
	e := &edit{doc: doc}
	for _, step := range []func(*target) error{e.drop, e.putBack, e.upsert, e.arrange, e.mark} {
		if err := step(&t); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// drop takes out what was removed, unless it was added again since.
func (e *edit) drop(t *target) error {
	for _, d := range t.dead {
		if t.wants(d) {
			continue
		}
		for i := e.doc.Len() - 1; i >= 0; i-- {
			have, _ := e.doc.Entry(i)
			if keyOf(have) != keyOf(d) {
				continue
			}
			doc, err := e.doc.Remove(i)
			if err != nil {
				return err
			}
			e.doc = doc
			e.changes = append(e.changes, changeOf(Removed, have))
		}
	}
	return nil
}

// wants tells whether exactly this entry is wished for.
func (t *target) wants(d ocispec.Descriptor) bool {
	return slices.ContainsFunc(t.live, func(w wish) bool { return keyOf(w.entry) == keyOf(d) })
}

// covers tells whether a wish stands for this entry, or a newer one of its
// identity does.
func (t *target) covers(d ocispec.Descriptor) bool {
	return slices.ContainsFunc(t.live, func(w wish) bool { return t.alike(d, w) })
}

// alike tells whether an entry has the identity of a wish.
func (t *target) alike(d ocispec.Descriptor, w wish) bool {
	return identityOf(t.index, d, w.keys) == identityOf(t.index, w.entry, w.keys)
}

// putBack restores foreign entries that another writer dropped, byte for byte.
func (e *edit) putBack(t *target) error {
	for _, lost := range t.lost {
		dead := slices.ContainsFunc(t.dead, func(d ocispec.Descriptor) bool { return keyOf(d) == lost.key })
		if dead || t.covers(lost.desc) {
			continue
		}
		doc, err := e.doc.InsertRaw(t.past.position(e.doc, lost.key), lost.raw)
		if err != nil {
			return err
		}
		e.doc = doc
		e.changes = append(e.changes, changeOf(Restored, lost.desc))
	}
	return nil
}

// upsert adds or replaces the entry of each wish.
func (e *edit) upsert(t *target) error {
	for _, w := range t.live {
		if err := e.upsertOne(t, w); err != nil {
			return err
		}
	}
	return nil
}

func (e *edit) upsertOne(t *target, w wish) error {
	at := e.find(t, w)
	change := changeOf(Added, w.entry)
	change.Tag = w.tag
	var doc *ociindex.Document
	var err error
	switch {
	case len(at) > 1:
		entries := e.entries(at)
		if w.asked {
			return errSeveral(w, entries)
		}
		if !slices.ContainsFunc(entries, func(d ocispec.Descriptor) bool { return sameEntry(d, w.entry) }) {
			t.log("the index has %d entries like that of tag %q, so none is replaced: %s", len(at), w.tag, list(entries))
		}
		return nil
	case len(at) == 1:
		have, _ := e.doc.Entry(at[0])
		if sameEntry(have, w.entry) {
			return nil
		}
		change.Action, change.Was = Replaced, have.Digest
		doc, err = e.doc.Replace(at[0], w.entry)
	default:
		doc, err = e.doc.Insert(place(e.doc, rankOf(w.entry)), w.entry)
	}
	if err != nil {
		return err
	}
	e.doc = doc
	e.changes = append(e.changes, change)
	return nil
}

// find gives the positions of the entries with the identity of a wish.
func (e *edit) find(t *target, w wish) []int {
	var at []int
	for i := range e.doc.Len() {
		if d, _ := e.doc.Entry(i); t.alike(d, w) {
			at = append(at, i)
		}
	}
	return at
}

func (e *edit) entries(at []int) []ocispec.Descriptor {
	var all []ocispec.Descriptor
	for _, i := range at {
		d, _ := e.doc.Entry(i)
		all = append(all, d)
	}
	return all
}

// errSeveral says that a wish does not tell which entry it would replace.
func errSeveral(w wish, entries []ocispec.Descriptor) error {
	return badUse("tell them apart with --identity KEY, or take out with nbpack index remove --digest what should not be there",
		"the index has %d entries like the one to be added (%s): %s", len(entries), platformString(w.entry.Platform), list(entries))
}

// arrange moves entries of this package behind the containers that they would
// hide from runtimes. Foreign entries stay where they are.
func (e *edit) arrange(t *target) error {
	for _, w := range t.live {
		i := slices.IndexFunc(e.entries(e.all()), func(d ocispec.Descriptor) bool { return sameEntry(d, w.entry) })
		if i < 0 {
			continue
		}
		to := behind(e.doc, i)
		if to < 0 {
			continue
		}
		have, raw := e.doc.Entry(i)
		doc, err := e.doc.Remove(i)
		if err != nil {
			return err
		}
		if e.doc, err = doc.InsertRaw(to, raw); err != nil { // all behind i came one forward
			return err
		}
		change := changeOf(Moved, have)
		change.Tag = w.tag
		e.changes = append(e.changes, change)
	}
	return nil
}

func (e *edit) all() []int {
	at := make([]int, e.doc.Len())
	for i := range at {
		at[i] = i
	}
	return at
}

// mark gives an index with netboot entries of this package the annotation that
// says so. What others wrote there stays.
func (e *edit) mark(t *target) error {
	if _, marked := e.doc.Index().Annotations[spec.LabelVersion]; marked {
		return nil
	}
	if !slices.ContainsFunc(t.live, func(w wish) bool { return w.entry.Annotations[spec.LabelVersion] != "" }) {
		return nil
	}
	doc, err := e.doc.Annotate(spec.LabelVersion, spec.Version)
	if err != nil {
		return err
	}
	e.doc = doc
	return nil
}
