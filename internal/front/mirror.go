package front

import (
	"net/netip"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

// What a mirror can be. Clients are sent to those that are up.
const (
	stateUnknown = "unknown" // nobody has looked yet
	stateUp      = "up"
	stateDown    = "down"  // gives no answers, or errors
	stateSlow    = "slow"  // gives them too late
	stateStale   = "stale" // lacks what it should have by now
	stateWrong   = "wrong" // gives other content
)

// backAfter is how many looks in a row must find a mirror right that was wrong.
const backAfter = 2

// mirror is one of the configuration and what is known of it.
type mirror struct {
	Mirror

	mu     sync.Mutex
	state  string
	why    string // for people
	since  time.Time
	looked time.Time // at all blobs
	has    map[digest.Digest]bool
	wrong  map[digest.Digest]bool // gave something else; proved again in each look
	good   int                    // looks in a row, since it was wrong
	took   time.Duration          // for an answer, smoothed

	doubts doubts
}

func newMirror(m Mirror) *mirror {
	return &mirror{
		Mirror: m, state: stateUnknown, why: "nobody has looked yet", has: map[digest.Digest]bool{}, wrong: map[digest.Digest]bool{},
		doubts: doubts{queue: make(chan digest.Digest, maxDoubts), asked: map[digest.Digest]time.Time{}},
	}
}

// serves tells whether a client may be sent there for a blob, and how near it is:
// the length of the network that both are in, -1 for none.
func (m *mirror) serves(client netip.Addr, d digest.Digest) (nearness int, ok bool) {
	nearness = -1
	for _, n := range m.Networks {
		if n.Contains(client) {
			nearness = max(nearness, n.Bits())
		}
	}
	if m.Private && nearness < 0 {
		return nearness, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return nearness, m.state == stateUp && m.has[d] && !m.wrong[d]
}

// become changes the state and tells whether it is another one.
func (m *mirror) become(state, why string, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if state == stateWrong {
		m.good = 0
	}
	changed := m.state != state
	if changed {
		m.state, m.since = state, now
	}
	m.why = why
	return changed
}

func (m *mirror) is(state string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state == state
}

// recovers notes that a look found nothing wrong, and tells whether that will do.
func (m *mirror) recovers() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state != stateWrong {
		return true
	}
	m.good++
	return m.good >= backAfter
}

// Status is what is known of a mirror, for people and monitoring.
type Status struct {
	Name  string    `json:"name"`
	URL   string    `json:"url"`
	State string    `json:"state"`
	Why   string    `json:"why,omitempty"`
	Since time.Time `json:"since,omitzero"`
	// Looked is when all of its blobs were looked for, and Blobs how many it has.
	Looked time.Time `json:"looked,omitzero"`
	Blobs  int       `json:"blobs"`
	// Seconds is how long it takes to answer, smoothed.
	Seconds float64 `json:"seconds"`
}

// Up tells whether clients are sent there.
func (s Status) Up() bool { return s.State == stateUp }

func (m *mirror) status() Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	return Status{
		Name: m.Name, URL: m.at.String(), State: m.state, Why: m.why, Since: m.since,
		Looked: m.looked, Blobs: len(m.has), Seconds: m.took.Seconds(),
	}
}

// answered smooths how long answers take.
func (m *mirror) answered(took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.took > 0 {
		took = (7*m.took + took) / 8
	}
	m.took = took
}

// note remembers whether it has a blob.
func (m *mirror) note(d digest.Digest, has bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if has {
		m.has[d] = true
	} else {
		delete(m.has, d)
	}
}
