package catalogrun

import (
	"errors"
	"fmt"
	"maps"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/internal/bootdir"
)

// stateNote is where a boot directory keeps its State.
const stateNote = "sync.json"

// stateVersion changes when an older program must not read what is written.
const stateVersion = 1

// State is what runs over catalogues remember of one boot directory. It saves
// questions and dates failures; trees do not depend on it.
type State struct {
	Version int `json:"version"`
	// Runs are the last runs, by the name of the catalogue.
	Runs map[string]RunState `json:"runs"`
	// References are by reference, and release where there is one.
	References map[string]*ReferenceState `json:"references"`
	// Left says since when trees, by live path, are not in their catalogue.
	Left map[string]time.Time `json:"left,omitempty"`
	// Removed says when trees were removed that had left their catalogue, by the
	// name of that: the share that may go is one of a stretch of time.
	Removed map[string][]time.Time `json:"removed,omitempty"`
	// Children are tags that belong to an index, by repository and tag.
	Children map[string]map[string]childState `json:"children,omitempty"`
	// Indexes are catalog indexes, by reference.
	Indexes map[string]indexState `json:"indexes,omitempty"`
}

// RunState tells of the runs of one catalogue.
type RunState struct {
	Last      time.Time `json:"last"`
	Succeeded time.Time `json:"succeeded,omitzero"` // the last one in which nothing failed
}

// ReferenceState is what is known of one reference.
type ReferenceState struct {
	Catalog      string              `json:"catalog"`
	Digest       string              `json:"digest,omitempty"` // that it named last
	Moved        time.Time           `json:"moved,omitzero"`   // when it was first seen to name that
	Moves        int                 `json:"moves,omitempty"`  // how often it was seen to name another
	Tried        time.Time           `json:"tried"`
	Succeeded    time.Time           `json:"succeeded,omitzero"`
	FailingSince time.Time           `json:"failing_since,omitzero"`
	Kind         extract.FailureKind `json:"kind,omitempty"`
	Error        string              `json:"error,omitempty"`
	// Warned is when it was last told that it stands still.
	Warned time.Time `json:"warned,omitzero"`
	// Lost is since when a list names it and the registry does not have it.
	Lost     time.Time `json:"lost,omitzero"`
	Skip     string    `json:"skip,omitempty"`     // why it is not laid out
	Question string    `json:"question,omitempty"` // that Skip answers
	// Twin is the reference that makes the same tree, while it names TwinDigest.
	Twin       string `json:"twin,omitempty"`
	TwinDigest string `json:"twin_digest,omitempty"`
}

// childState is what a tag's manifest says of the index that it belongs to.
type childState struct {
	Digest      string    `json:"digest"`                 // of the manifest
	Index       string    `json:"index,omitempty"`        // tag of the index; empty for none
	IndexDigest string    `json:"index_digest,omitempty"` // that it named then
	Checked     time.Time `json:"checked"`
}

// indexState is what a catalog index held.
type indexState struct {
	Digest   string                 `json:"digest"`
	Releases map[string]releaseDesc `json:"releases"`
}

type releaseDesc struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
}

func describeRelease(d ocispec.Descriptor) releaseDesc {
	return releaseDesc{d.MediaType, d.Digest.String(), d.Size}
}

// ReadState gives what the runs over a boot directory remember. It takes no
// lock; where nothing is remembered, the state is empty.
func ReadState(dir string) (*State, error) {
	d, err := bootdir.View(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return readState(d)
}

// Recall adds to what was found of the trees of the boot directory what the runs over their
// catalogues remember of them: when they were last seen to be up to date, and since when, and
// how, that fails.
func (s *State) Recall(trees []extract.TreeStatus) {
	for i := range trees {
		t := &trees[i]
		if r := s.References[stateKey(t.Reference, t.Release)]; r != nil && r.Catalog == t.Catalog {
			t.Succeeded, t.FailingSince, t.Error = r.Succeeded, r.FailingSince, r.Error
		}
	}
}

// stateKey names a reference, or one release of a catalog index, in the state.
func stateKey(reference, release string) string {
	if release == "" {
		return reference
	}
	return reference + " " + release
}

func readState(d *bootdir.Dir) (*State, error) {
	s := &State{}
	found, err := d.Note(stateNote, s)
	if err != nil {
		return nil, err
	}
	if found && s.Version != stateVersion {
		return nil, &stateVersionError{d.Path(), s.Version}
	}
	s.complete()
	return s, nil
}

// stateVersionError says that another release of this program wrote the state.
type stateVersionError struct {
	dir     string
	version int
}

func (e *stateVersionError) Error() string {
	return fmt.Sprintf("%q of boot directory %q has version %d, this program knows %d", stateNote, e.dir, e.version, stateVersion)
}

// openState is readState for a run that will write the state again: one that is
// damaged costs questions and the dates of failures, and must not keep trees from
// being brought up to date.
func openState(d *bootdir.Dir, warnf func(string, ...any)) (*State, error) {
	s, err := readState(d)
	var version *stateVersionError
	if err == nil || errors.As(err, &version) {
		return s, err
	}
	warnf("%s: %v; what earlier runs remembered is begun anew", d.Path(), err)
	s = &State{}
	s.complete()
	return s, nil
}

// complete makes what is missing.
func (s *State) complete() {
	s.Version = stateVersion
	if s.Runs == nil {
		s.Runs = map[string]RunState{}
	}
	if s.References == nil {
		s.References = map[string]*ReferenceState{}
	}
	if s.Left == nil {
		s.Left = map[string]time.Time{}
	}
	if s.Removed == nil {
		s.Removed = map[string][]time.Time{}
	}
	if s.Children == nil {
		s.Children = map[string]map[string]childState{}
	}
	if s.Indexes == nil {
		s.Indexes = map[string]indexState{}
	}
}

// reference gives the state of a reference, and makes it.
func (s *State) reference(key, catalog string) *ReferenceState {
	r := s.References[key]
	if r == nil {
		r = &ReferenceState{}
		s.References[key] = r
	}
	r.Catalog = catalog
	return r
}

// sees notes what a reference names. A time to come was noted under a clock that
// was wrong.
func (r *ReferenceState) sees(digest string, now time.Time) {
	r.Lost = time.Time{}
	if r.Digest == digest {
		if r.Moved.After(now) {
			r.Moved = now
		}
		return
	}
	if r.Digest != "" {
		r.Moves++
	}
	r.Digest, r.Moved, r.Skip, r.Question, r.Twin, r.TwinDigest = digest, now, "", "", "", ""
}

// succeeded and failed note how an attempt ended.
func (r *ReferenceState) succeeded(now time.Time) {
	r.Tried, r.Succeeded = now, now
	r.FailingSince, r.Kind, r.Error = time.Time{}, "", ""
}

func (r *ReferenceState) failed(f *extract.Failure, now time.Time) {
	r.Tried, r.Kind, r.Error = now, f.Kind, f.Message
	if r.FailingSince.IsZero() || r.FailingSince.After(now) {
		r.FailingSince = now
	}
	f.Since = r.FailingSince
}

// mayWarn tells whether it is time to say once more that a reference stands still: a
// run in each hour would send a mail in each hour.
func (r *ReferenceState) mayWarn(now time.Time) bool {
	if age := now.Sub(r.Warned); age >= 0 && age < warnEvery {
		return false
	}
	r.Warned = now
	return true
}

// warnEvery is a little less than a day, because timers are not exact.
const warnEvery = 23 * time.Hour

// standsSince says how long a reference has named the same: since it was seen to
// move, else since its image was made, if that is known.
func (r *ReferenceState) standsSince(created *time.Time) time.Time {
	if r.Moves == 0 && created != nil && created.Before(r.Moved) {
		return *created
	}
	return r.Moved
}

// childMemory is how long a tag is remembered that nobody looks at any more.
const childMemory = 30 * 24 * time.Hour

// forget drops what is known of references that a catalogue names no longer, and of
// tags that went away.
func (s *State) forget(catalog string, named map[string]bool, now time.Time) {
	for repo, children := range s.Children {
		maps.DeleteFunc(children, func(_ string, c childState) bool { return now.Sub(c.Checked) > childMemory })
		if len(children) == 0 {
			delete(s.Children, repo)
		}
	}
	for key, r := range s.References {
		if r.Catalog == catalog && !named[key] {
			delete(s.References, key)
		}
	}
}
