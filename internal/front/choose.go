package front

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

// choose lists the mirrors that a client may be sent to for a blob: the nearest first,
// among equally near ones by weight. The same question has the same answer as long
// as the mirrors stay the same, so that parts of a blob come from one place.
func choose(mirrors []*mirror, client netip.Addr, d digest.Digest) []*mirror {
	type choice struct {
		*mirror
		nearness int
		score    float64
	}
	var all []choice
	for _, m := range mirrors {
		if n, ok := m.serves(client, d); ok {
			all = append(all, choice{m, n, score(m, client, d)})
		}
	}
	slices.SortFunc(all, func(a, b choice) int {
		return cmp.Or(cmp.Compare(b.nearness, a.nearness), cmp.Compare(b.score, a.score), cmp.Compare(a.Name, b.Name))
	})
	out := make([]*mirror, len(all))
	for i, c := range all {
		out[i] = c.mirror
	}
	return out
}

// score is that of weighted rendezvous hashing: of all mirrors each is the highest
// as often as its weight says, and one that goes away moves nobody but its own.
func score(m *mirror, client netip.Addr, d digest.Digest) float64 {
	h := sha256.New()
	for _, part := range []string{client.String(), d.String(), m.Name} {
		_, _ = h.Write(append([]byte(part), 0))
	}
	n := binary.BigEndian.Uint64(h.Sum(nil))
	return -float64(*m.Weight) / math.Log((float64(n>>11)+0.5)/(1<<53))
}

const (
	// againWithin is how soon the same question is a second try.
	againWithin = 30 * time.Second
	// maxAsked bounds how many questions are remembered.
	maxAsked = 1 << 16
)

// memory knows who was sent where just now. Who asks for the same again got
// nothing good the first time, and is sent to the next place.
type memory struct {
	mu    sync.Mutex
	asked map[question]answer
}

type question struct {
	client netip.Addr
	blob   digest.Digest
}

type answer struct {
	part [sha256.Size]byte // of the Range header, which can be long
	n    int               // which of the places it was
	at   time.Time
}

// turn gives the number of the place for a question, counted without end. Another
// part of the same blob goes to the same place.
func (m *memory) turn(q question, ranges string, now time.Time) int {
	part := sha256.Sum256([]byte(ranges))
	m.mu.Lock()
	defer m.mu.Unlock()
	a, known := m.asked[q]
	switch {
	case !known || now.Sub(a.at).Abs() > againWithin:
		a = answer{}
	case a.part == part:
		a.n++
	}
	if !known && len(m.asked) >= maxAsked {
		m.forget(now)
	}
	a.part, a.at = part, now
	m.asked[q] = a
	return a.n
}

// forget makes room.
func (m *memory) forget(now time.Time) {
	for q, a := range m.asked {
		if now.Sub(a.at).Abs() > againWithin {
			delete(m.asked, q)
		}
	}
	if len(m.asked) >= maxAsked {
		clear(m.asked)
	}
}
