package transport

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

const (
	// mirrorRest is how long a mirror is left alone after a failure. It doubles
	// with each further one, up to maxMirrorRest.
	mirrorRest    = 30 * time.Second
	maxMirrorRest = 30 * time.Minute
	// wrongRest is how long later runs keep away from one that gave wrong
	// content. The run that noticed never asks it again.
	wrongRest = 24 * time.Hour
	// measureAgain is how long a measured latency counts.
	measureAgain = 24 * time.Hour
	// forgetMirror is how long a mirror is remembered that nobody uses.
	forgetMirror = 90 * 24 * time.Hour
)

// MirrorState is what is remembered of a mirror between runs.
type MirrorState struct {
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

// MirrorHealth knows by their URLs how mirrors did. Clients may share one; it is
// safe for concurrent use. [NewMirrorHealth] makes it.
type MirrorHealth struct {
	mu     sync.Mutex
	now    func() time.Time
	states map[string]MirrorState
	banned map[string]bool // in this run
	// suspected are those who gave a part of a blob that was refused, at an offset, by digest
	// and mirror. The table that tells what the part holds may be wrong instead.
	suspected map[digest.Digest]map[string]int64
	dirty     bool
}

// NewMirrorHealth begins with what earlier runs remember, which may be nil.
func NewMirrorHealth(states map[string]MirrorState) *MirrorHealth {
	h := &MirrorHealth{now: time.Now, states: map[string]MirrorState{}, banned: map[string]bool{}, suspected: map[digest.Digest]map[string]int64{}}
	maps.Copy(h.states, states)
	return h
}

// States gives what is worth being remembered, and whether there is anything
// new in it. A nil MirrorHealth has nothing.
func (h *MirrorHealth) States() (states map[string]MirrorState, changed bool) {
	if h == nil {
		return nil, false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	states = maps.Clone(h.states)
	maps.DeleteFunc(states, func(_ string, s MirrorState) bool { return h.now().Sub(s.Seen) > forgetMirror })
	return states, h.dirty
}

// usable tells whether a mirror is to be asked now. A clock that was set back does
// not keep one away for ever.
func (h *MirrorHealth) usable(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.states[name].rests(h.now())
}

func (s MirrorState) rests(now time.Time) bool {
	return now.Before(s.Rest) && s.Rest.Sub(now) <= maxMirrorRest
}

// lied tells whether a mirror is not to be asked for a blob, because of what it gave
// before.
func (h *MirrorHealth) lied(name string, d digest.Digest) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.states[name]
	_, suspect := h.suspected[d][name]
	return suspect || h.banned[name] || !s.Wrong.IsZero() && h.now().Sub(s.Wrong).Abs() < wrongRest
}

// suspect notes that a part of a blob from a mirror was refused.
func (h *MirrorHealth) suspect(name string, d digest.Digest, offset int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.suspected[d] == nil {
		h.suspected[d] = map[string]int64{}
	}
	h.suspected[d][name] = offset
}

// suspects counts those of a blob.
func (h *MirrorHealth) suspects(d digest.Digest) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.suspected[d])
}

// convicted gives the suspects of a blob whose offset lies in a part that was right
// when it came from elsewhere: so it was not the table.
func (h *MirrorHealth) convicted(d digest.Digest, part Range) (names []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, offset := range h.suspected[d] {
		if offset >= part.Offset && offset < part.Offset+part.Length && !h.banned[name] {
			names = append(names, name)
		}
	}
	return names
}

func (h *MirrorHealth) change(name string, f func(s *MirrorState, now time.Time)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, now := h.states[name], h.now()
	f(&s, now)
	s.Seen = now
	h.states[name], h.dirty = s, true
}

// answered notes that a mirror had what it was asked for, and how long its first
// byte took. Whether it is right nobody knows yet.
func (h *MirrorHealth) answered(name string, took time.Duration) {
	h.change(name, func(s *MirrorState, now time.Time) {
		s.Failures, s.Rest = 0, time.Time{}
		if s.Latency > 0 && took > 0 {
			took = (3*s.Latency + took) / 4
		}
		s.Latency, s.Measured = took, now
	})
}

// failed notes that a mirror gave no answer, or a useless one.
func (h *MirrorHealth) failed(name string) {
	h.change(name, func(s *MirrorState, now time.Time) {
		s.Rest = now.Add(min(mirrorRest<<min(s.Failures, 10), maxMirrorRest))
		s.Failures++
	})
}

// wrong notes that a mirror gave wrong content; it is false when that is known.
func (h *MirrorHealth) wrong(name string) bool {
	h.mu.Lock()
	known := h.banned[name]
	h.banned[name] = true
	h.mu.Unlock()
	if !known {
		h.change(name, func(s *MirrorState, now time.Time) { s.Wrong = now })
	}
	return !known
}

// unmeasured picks the mirrors whose latency is not known, or was long ago. One that
// is left alone is not measured either.
func (h *MirrorHealth) unmeasured(mirrors []Mirror) []Mirror {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(mirrors), func(m Mirror) bool {
		s, now := h.states[m.String()], h.now()
		return s.rests(now) || s.Latency > 0 && now.Sub(s.Measured).Abs() < measureAgain
	})
}

// nearest sorts mirrors by latency, those without one last.
func (h *MirrorHealth) nearest(mirrors []Mirror) {
	h.mu.Lock()
	defer h.mu.Unlock()
	slices.SortStableFunc(mirrors, func(a, b Mirror) int {
		// None is 0, and 0-1 the largest of all.
		return cmp.Compare(uint64(h.states[a.String()].Latency-1), uint64(h.states[b.String()].Latency-1))
	})
}
