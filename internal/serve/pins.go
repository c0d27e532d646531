package serve

import (
	"container/list"
	"io"
	"net/netip"
	"sync"
	"time"
)

// pins remember which generation of a tree a machine began with.
//
// A pin lasts hold after the last request, so that a slow installation keeps it,
// but no longer than maxAge after the first: an address that asks for ever, such
// as a monitor's or that of a proxy, must come to see updates. While a
// file of it is being sent it does not end.
type pins struct {
	hold   time.Duration
	most   int // pins at once; beyond that the one longest unused goes
	keep   func(digest string) (io.Closer, error)
	now    func() time.Time
	mu     sync.Mutex
	byKey  map[pinKey]*list.Element // of *pin
	order  list.List                // the one longest unused first
	kept   map[string]*keptGeneration
	early  uint64 // pins that ended because their generation was gone
	pushed uint64 // pins that ended because there were too many
}

// maxAgeFactor times hold is how old a pin can become.
const maxAgeFactor = 4

type pinKey struct {
	client netip.Addr
	live   string
}

type pin struct {
	key         pinKey
	digest      string
	first, last time.Time
	active      int // files being sent
}

// keptGeneration is held once for all pins to it.
type keptGeneration struct {
	lock io.Closer
	pins int
}

func newPins(hold time.Duration, most int, keep func(string) (io.Closer, error), now func() time.Time) *pins {
	return &pins{hold: hold, most: most, keep: keep, now: now, byKey: map[pinKey]*list.Element{}, kept: map[string]*keptGeneration{}}
}

// take gives the generation that the client is to get of the tree at live: the
// one it began with, else the one that is live now. The error tells that the
// generation cannot be held.
func (p *pins) take(k pinKey, digest string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if e := p.byKey[k]; e != nil {
		if v := e.Value.(*pin); !p.over(v, now) {
			v.last = now
			p.order.MoveToBack(e)
			return v.digest, nil
		}
		p.remove(e)
	}
	if p.hold <= 0 {
		return "", nil
	}
	g := p.kept[digest]
	if g == nil {
		lock, err := p.keep(digest)
		if err != nil {
			return "", err
		}
		g = &keptGeneration{lock: lock}
		p.kept[digest] = g
	}
	g.pins++
	if p.order.Len() >= p.most {
		p.pushed++
		p.remove(p.order.Front())
	}
	p.byKey[k] = p.order.PushBack(&pin{key: k, digest: digest, first: now, last: now})
	return digest, nil
}

// peek gives the generation a client is pinned to, or the empty string.
func (p *pins) peek(k pinKey) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.byKey[k]; e != nil {
		if v := e.Value.(*pin); !p.over(v, p.now()) {
			return v.digest
		}
	}
	return ""
}

// begin notes that a file of the pinned tree is being sent; the function it gives
// is called when that ended.
func (p *pins) begin(k pinKey) (end func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.byKey[k]
	if e == nil {
		return func() {}
	}
	v := e.Value.(*pin)
	v.active++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		v.active--
		v.last = p.now()
	}
}

// drop ends a pin whose generation is gone.
func (p *pins) drop(k pinKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.byKey[k]; e != nil {
		p.early++
		p.remove(e)
	}
}

// sweep ends the pins whose time is over, and lets go of their generations.
func (p *pins) sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	for e := p.order.Front(); e != nil; {
		next := e.Next()
		if p.over(e.Value.(*pin), now) {
			p.remove(e)
		}
		e = next
	}
}

// close ends all pins.
func (p *pins) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.order.Len() > 0 {
		p.remove(p.order.Front())
	}
}

func (p *pins) over(v *pin, now time.Time) bool {
	return v.active == 0 && (now.Sub(v.last) > p.hold || now.Sub(v.first) > maxAgeFactor*p.hold)
}

func (p *pins) remove(e *list.Element) {
	v := p.order.Remove(e).(*pin)
	delete(p.byKey, v.key)
	g := p.kept[v.digest]
	if g.pins--; g.pins == 0 {
		delete(p.kept, v.digest)
		_ = g.lock.Close() // an flock ends with its descriptor in any case
	}
}

// pinCounts are figures for the metrics.
type pinCounts struct {
	pins, generations int
	early, pushed     uint64
}

func (p *pins) counts() pinCounts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return pinCounts{p.order.Len(), len(p.kept), p.early, p.pushed}
}
