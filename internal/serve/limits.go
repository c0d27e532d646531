package serve

import (
	"net/netip"
	"sync"
)

// limits counts what clients have open, so that one of them, or all together,
// cannot use up what the others need.
type limits struct {
	each, all int

	mu    sync.Mutex
	open  map[netip.Addr]int
	total int
}

func newLimits(each, all int) *limits {
	return &limits{each: each, all: all, open: map[netip.Addr]int{}}
}

// why a client is turned away; the empty string lets it in.
const (
	tooManyOfClient = "client"
	tooManyInAll    = "total"
)

// enter counts one more for the client, or tells why not.
func (l *limits) enter(c netip.Addr) (refused string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.total >= l.all:
		return tooManyInAll
	case l.open[c] >= l.each:
		return tooManyOfClient
	}
	l.open[c]++
	l.total++
	return ""
}

func (l *limits) leave(c netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	if l.open[c]--; l.open[c] == 0 {
		delete(l.open, c)
	}
}

// count gives how much is open.
func (l *limits) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}
