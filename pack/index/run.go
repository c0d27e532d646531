package index

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nbpack/nbpack/internal/ociindex"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// member is a child that this run puts into the index.
type member struct {
	wish
	digest    digest.Digest // of what its tag names
	mediaType string
	body      []byte
	overtaken bool // another run has replaced or removed it since
}

// run changes one index.
type run struct {
	repo Repository
	tag  string
	o    Options

	own      []*member
	removal  []ocispec.Descriptor // entries that this run takes out
	buried   string               // the child tag of the first of them
	kids     children
	past     history
	spared   map[entryKey]bool // removed once, and since added again by others
	there    bool              // the index was seen
	wrote    bool
	rejected digest.Digest // an index that the registry said had changed
	changes  []Change
}

func newRun(repo Repository, tag string, o Options) *run {
	r := &run{repo: repo, tag: tag, o: o}
	r.o.Log = once(o.Log)
	r.kids = children{repo: repo, index: tag, log: r.o.log, known: map[digest.Digest]*child{}}
	return r
}

// once says a thing one time only, in however many rounds it comes up.
func once(log func(format string, a ...any)) func(format string, a ...any) {
	said := map[string]bool{}
	return func(format string, a ...any) {
		if text := fmt.Sprintf(format, a...); log != nil && !said[text] {
			said[text] = true
			log("%s", text)
		}
	}
}

// snapshot is what a run saw at one moment: first the tags, then the index.
type snapshot struct {
	kids    []child
	doc     *ociindex.Document // without entries where there is no index
	current ocispec.Descriptor // what the tag names; zero where it names nothing
	raw     []byte             // the bytes of the index; nil where there is none yet
	wrapped bool               // the tag names an image, and doc holds it
}

// read looks at the repository. The tags come first, so that the time between
// reading the index and writing it is short.
func (r *run) read(ctx context.Context) (*snapshot, error) {
	s := &snapshot{}
	var err error
	if s.kids, err = r.kids.read(ctx); err != nil {
		return nil, err
	}
	return s, r.readIndex(ctx, s)
}

// errGone is an index that was there in this run, and is not any more.
var errGone = errors.New("the index is gone")

func (r *run) readIndex(ctx context.Context, s *snapshot) error {
	d, body, err := r.repo.Get(ctx, r.tag)
	var none *transport.NotFoundError
	switch {
	case errors.As(err, &none) && r.there:
		return errGone
	case errors.As(err, &none):
		s.doc = ociindex.New(nil)
		return nil
	case err != nil:
		return fmt.Errorf("read index %q: %w", r.tag, err)
	}
	s.current = d
	if d.MediaType != ocispec.MediaTypeImageIndex {
		return r.wrap(ctx, s, d, body)
	}
	if s.doc, err = ociindex.Parse(body); err != nil {
		return fmt.Errorf("index %q: %w", r.tag, err)
	}
	if of := s.doc.Index().Annotations[spec.AnnotationIndexTag]; of != "" {
		return errChildTag(r.tag, of)
	}
	s.raw, r.there = body, true
	return nil
}

func errChildTag(tag, of string) error {
	return badUse(fmt.Sprintf("add to %q itself", of), "tag %q is a child of index %q and no index of its own", tag, of)
}

// settle writes the index until it is as it shall be, and looks again after
// every write: whoever writes last makes sure that nothing is missing. It never
// ends after a write that it has not seen to be right.
func (r *run) settle(ctx context.Context) (*Result, error) {
	writes, wait, gone := 0, false, false
	for range maxLooks {
		if wait {
			if err := r.o.backoff(ctx, writes); err != nil {
				return nil, err
			}
		}
		s, err := r.read(ctx)
		if gone = errors.Is(err, errGone); gone {
			wait = true
			continue
		}
		if err != nil {
			return nil, err
		}
		e, err := r.compute(ctx, s)
		if err != nil {
			return nil, err
		}
		equal := bytes.Equal(e.doc.Bytes(), s.raw)
		if equal || r.o.DryRun {
			r.remember(s, e.changes)
			return r.result(s, e.doc, r.wrote || !equal), nil
		}
		if writes > 0 && !wait {
			wait = true // others write, too: let them finish, and look again
			continue
		}
		if err := r.write(ctx, s, e); err != nil && !errors.Is(err, transport.ErrChanged) {
			return nil, err
		} else {
			wait = err != nil
		}
		writes++
	}
	return nil, &lostRaceError{tag: r.tag, writes: writes, gone: gone}
}

func (r *run) write(ctx context.Context, s *snapshot, e *edit) error {
	o := transport.PutOptions{IfMatch: s.current.Digest}
	if r.rejected == s.current.Digest {
		o.IfMatch = "" // nobody changed it: this registry knows it by another entity tag
	}
	_, err := r.repo.Put(ctx, r.tag, ocispec.MediaTypeImageIndex, e.doc.Bytes(), o)
	if errors.Is(err, transport.ErrChanged) {
		r.rejected = s.current.Digest
	}
	if err != nil {
		return fmt.Errorf("write index %q: %w", r.tag, err)
	}
	r.there, r.wrote = true, true
	r.past.note(e.doc)
	r.remember(s, e.changes)
	return nil
}

// remember notes changes for the report, each once however often it was made.
func (r *run) remember(s *snapshot, changes []Change) {
	if s.wrapped {
		d, _ := s.doc.Entry(0)
		changes = append([]Change{changeOf(Wrapped, d)}, changes...)
	}
	for _, c := range changes {
		if !slices.Contains(r.changes, c) {
			r.changes = append(r.changes, c)
		}
	}
}

func (r *run) result(s *snapshot, doc *ociindex.Document, changed bool) *Result {
	body := doc.Bytes()
	res := &Result{
		Digest: digest.FromBytes(body), MediaType: ocispec.MediaTypeImageIndex, Size: int64(len(body)),
		Changed: changed, Changes: slices.Clone(r.changes),
	}
	if s.raw != nil && !r.o.DryRun {
		res.Digest = s.current.Digest // the registry's own, whatever its algorithm
	}
	if res.Changes == nil {
		res.Changes = []Change{}
	}
	return res
}

// compute says what the index shall become, from what was seen.
func (r *run) compute(ctx context.Context, s *snapshot) (*edit, error) {
	t := target{index: r.tag, past: &r.past, log: r.o.log}
	for i := range s.kids {
		k := &s.kids[i]
		switch {
		case k.tomb:
			t.dead = append(t.dead, k.removed...)
		case r.o.DryRun && k.tag == r.buried: // would be a tombstone now
		default:
			t.live = append(t.live, wish{tag: k.tag, entry: k.entry, keys: k.keys})
		}
	}
	if err := r.spare(ctx, s, t.dead); err != nil {
		return nil, err
	}
	t.dead = slices.DeleteFunc(t.dead, func(d ocispec.Descriptor) bool { return r.spared[keyOf(d)] })
	t.dead = append(t.dead, r.removal...)
	if err := r.claim(ctx, s, &t); err != nil {
		return nil, err
	}
	t.lost = r.past.lost(s.doc)
	r.past.note(s.doc)
	if err := r.stillThere(ctx, &t); err != nil {
		return nil, err
	}
	return compute(s.doc, t)
}

// stillThere leaves out lost entries whose content is gone: a registry would
// refuse the index.
func (r *run) stillThere(ctx context.Context, t *target) error {
	var kept []seenEntry
	for _, e := range t.lost {
		_, _, err := r.repo.Get(ctx, e.key.digest.String())
		var none *transport.NotFoundError
		if errors.As(err, &none) {
			continue
		}
		if err != nil {
			return fmt.Errorf("look for an entry that vanished from index %q: %w", r.tag, err)
		}
		kept = append(kept, e)
	}
	t.lost = kept
	return nil
}

// spare finds out, once, which removed entries others have added again. A
// tombstone is for the writers of its time; it must not keep a foreign tool from
// adding the same content later. A removal that goes on right now is over after
// a moment.
func (r *run) spare(ctx context.Context, s *snapshot, dead []ocispec.Descriptor) error {
	if r.spared != nil {
		return nil
	}
	r.spared = map[entryKey]bool{}
	present := func(s *snapshot) (keys []entryKey) {
		for i := range s.doc.Len() {
			d, _ := s.doc.Entry(i)
			if slices.ContainsFunc(dead, func(o ocispec.Descriptor) bool { return keyOf(o) == keyOf(d) }) {
				keys = append(keys, keyOf(d))
			}
		}
		return keys
	}
	if len(present(s)) == 0 {
		return nil
	}
	if err := r.o.backoff(ctx, 3); err != nil {
		return err
	}
	again, err := r.read(ctx)
	if err != nil {
		return err
	}
	for _, k := range present(again) {
		r.spared[k] = true
	}
	*s = *again
	return nil
}

// claim puts the members of this run among the wishes. A child tag that another
// run wrote later has the last word.
func (r *run) claim(ctx context.Context, s *snapshot, t *target) error {
	for _, m := range r.own {
		i := slices.IndexFunc(s.kids, func(k child) bool { return k.tag == m.tag })
		j := slices.IndexFunc(t.live, func(w wish) bool { return w.tag == m.tag })
		switch {
		case r.o.DryRun:
			if j >= 0 {
				t.live = slices.Delete(t.live, j, j+1)
			}
			t.live = append(t.live, m.wish)
		case j >= 0 && s.kids[i].digest == m.digest:
			t.live[j].asked = true
		case j >= 0, i >= 0 && s.kids[i].buries(m.entry):
			r.overtake(m)
		default:
			// The tag is gone, or a tombstone of something older came after it.
			if err := r.tagMember(ctx, m); err != nil {
				return err
			}
			t.live = append(t.live, m.wish)
		}
	}
	return nil
}

// buries tells whether a tombstone is that of this entry.
func (c *child) buries(d ocispec.Descriptor) bool {
	return c.tomb && slices.ContainsFunc(c.removed, func(o ocispec.Descriptor) bool { return keyOf(o) == keyOf(d) })
}

func (r *run) overtake(m *member) {
	if !m.overtaken {
		r.o.log("another run has written tag %q meanwhile; the index follows that one", m.tag)
	}
	m.overtaken = true
}

// tagMember writes a child under its tag.
func (r *run) tagMember(ctx context.Context, m *member) error {
	if _, err := r.repo.Put(ctx, m.tag, m.mediaType, m.body, transport.PutOptions{}); err != nil {
		return fmt.Errorf("write child %q of index %q: %w", m.tag, r.tag, err)
	}
	return nil
}
