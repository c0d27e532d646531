package blobmirror

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

const (
	// firstRest is how long a mirror is left alone after a failure. It doubles
	// with each further one, up to maxRest.
	firstRest = 30 * time.Second
	maxRest   = 30 * time.Minute
	// wrongRest is how long later runs keep away from one that gave wrong
	// content. The run that noticed never asks it again.
	wrongRest = 24 * time.Hour
	// measureAgain is how long a measured latency counts.
	measureAgain = 24 * time.Hour
	// forget is how long a mirror is remembered that nobody uses.
	forget = 90 * 24 * time.Hour
)

// State is what is remembered of a mirror between runs.
type State struct {
	// Latency is how long a first byte took, smoothed; measured at that time.
	Latency  time.Duration `json:"latency_ns,omitempty"`
	Measured time.Time     `json:"measured,omitzero"`
	// Failures in a row, and until when it is left alone because of them.
	Failures int       `json:"failures,omitempty"`
	Rest     time.Time `json:"rest,omitzero"`
	// Wrong is when it gave content with another digest than was asked for.
	Wrong time.Time `json:"wrong,omitzero"`
	// Seen is when it was asked last.
	Seen time.Time `json:"seen,omitzero"`
}

// Health knows by their URLs how mirrors did. Clients may share one; it is
// safe for concurrent use. [NewHealth] makes it.
type Health struct {
	mu     sync.Mutex
	now    func() time.Time
	states map[string]State
	banned map[string]bool // in this run
	// suspected are those who gave a part of a blob that was refused, at an offset, by digest
	// and mirror. The table that tells what the part holds may be wrong instead.
	suspected map[digest.Digest]map[string]int64
	dirty     bool
}

// NewHealth begins with what earlier runs remember, which may be nil.
func NewHealth(states map[string]State) *Health {
	h := &Health{now: time.Now, states: map[string]State{}, banned: map[string]bool{}, suspected: map[digest.Digest]map[string]int64{}}
	maps.Copy(h.states, states)
	return h
}

// States gives what is worth being remembered, and whether there is anything
// new in it. A nil Health has nothing.
func (h *Health) States() (states map[string]State, changed bool) {
	if h == nil {
		return nil, false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	states = maps.Clone(h.states)
	maps.DeleteFunc(states, func(_ string, s State) bool { return h.now().Sub(s.Seen) > forget })
	return states, h.dirty
}

// Usable tells whether a mirror is to be asked now. A clock that was set back does
// not keep one away for ever.
func (h *Health) Usable(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.states[name].rests(h.now())
}

func (s State) rests(now time.Time) bool {
	return now.Before(s.Rest) && s.Rest.Sub(now) <= maxRest
}

// Lied tells whether a mirror is not to be asked for a blob, because of what it gave
// before.
func (h *Health) Lied(name string, d digest.Digest) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.states[name]
	_, suspect := h.suspected[d][name]
	return suspect || h.banned[name] || !s.Wrong.IsZero() && h.now().Sub(s.Wrong).Abs() < wrongRest
}

// Suspect notes that a part of a blob from a mirror was refused.
func (h *Health) Suspect(name string, d digest.Digest, offset int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.suspected[d] == nil {
		h.suspected[d] = map[string]int64{}
	}
	h.suspected[d][name] = offset
}

// Suspects counts those of a blob.
func (h *Health) Suspects(d digest.Digest) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.suspected[d])
}

// Convicted gives the suspects of a blob whose offset lies in a part that was right
// when it came from elsewhere: so it was not the table.
func (h *Health) Convicted(d digest.Digest, offset, length int64) (names []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, at := range h.suspected[d] {
		if at >= offset && at < offset+length && !h.banned[name] {
			names = append(names, name)
		}
	}
	return names
}

func (h *Health) change(name string, f func(s *State, now time.Time)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, now := h.states[name], h.now()
	f(&s, now)
	s.Seen = now
	h.states[name], h.dirty = s, true
}

// Answered notes that a mirror had what it was asked for, and how long its first
// byte took. Whether it is right nobody knows yet.
func (h *Health) Answered(name string, took time.Duration) {
	h.change(name, func(s *State, now time.Time) {
		s.Failures, s.Rest = 0, time.Time{}
		if s.Latency > 0 && took > 0 {
			took = (3*s.Latency + took) / 4
		}
		s.Latency, s.Measured = took, now
	})
}

// Failed notes that a mirror gave no answer, or a useless one.
func (h *Health) Failed(name string) {
	h.change(name, func(s *State, now time.Time) {
		s.Rest = now.Add(min(firstRest<<min(s.Failures, 10), maxRest))
		s.Failures++
	})
}

// Wrong notes that a mirror gave wrong content; it is false when that is known.
func (h *Health) Wrong(name string) bool {
	h.mu.Lock()
	known := h.banned[name]
	h.banned[name] = true
	h.mu.Unlock()
	if !known {
		h.change(name, func(s *State, now time.Time) { s.Wrong = now })
	}
	return !known
}

// Unmeasured picks the mirrors whose latency is not known, or was long ago. One that
// is left alone is not measured either.
func (h *Health) Unmeasured(mirrors []Mirror) []Mirror {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(mirrors), func(m Mirror) bool {
		s, now := h.states[m.String()], h.now()
		return s.rests(now) || s.Latency > 0 && now.Sub(s.Measured).Abs() < measureAgain
	})
}

// Nearest sorts mirrors by latency, those without one last.
func (h *Health) Nearest(mirrors []Mirror) {
	h.mu.Lock()
	defer h.mu.Unlock()
	slices.SortStableFunc(mirrors, func(a, b Mirror) int {
		// None is 0, and 0-1 the largest of all.
		return cmp.Compare(uint64(h.states[a.String()].Latency-1), uint64(h.states[b.String()].Latency-1))
	})
}
