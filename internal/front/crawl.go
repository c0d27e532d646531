package front

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

const (
	// together is how many questions a mirror is asked at once.
	together = 4
	// enough failures in a row end a look at a mirror.
	enough = 3
	// newest is how many blobs that a mirror lacks are looked for in a probe.
	newest = 16
)

// crawler looks after the mirrors.
type crawler struct {
	tree    *tree
	o       Crawl
	client  *http.Client
	now     func() time.Time
	log     func(format string, a ...any)
	warn    func(format string, a ...any)
	counted func(m *mirror, outcome string) // a look; may be nil

	doubtTime time.Duration
}

// newCrawler makes one with connections of its own.
func newCrawler(t *tree, o Crawl, agent string) *crawler {
	transport := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: time.Duration(o.Timeout)}).DialContext,
		MaxIdleConnsPerHost:    together,
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
	}
	return &crawler{
		tree: t, o: o, client: &http.Client{Transport: named{transport, agent}, CheckRedirect: sameHost}, now: time.Now,
		log: func(string, ...any) {}, warn: func(string, ...any) {}, doubtTime: doubtTime,
	}
}

// sameHost follows a mirror to itself only, from http to https for example.
func sameHost(req *http.Request, via []*http.Request) error {
	if len(via) > 3 || req.URL.Hostname() != via[0].URL.Hostname() {
		return &fault{stateDown, fmt.Sprintf("it leads to %q", req.URL.Host)}
	}
	return nil
}

// named tells a mirror who asks.
type named struct {
	next  *http.Transport
	agent string
}

// RoundTrip implements http.RoundTripper.
func (n named) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Set("User-Agent", n.agent)
	return n.next.RoundTrip(r)
}

// run looks after all mirrors until the context ends.
func (c *crawler) run(ctx context.Context, mirrors []*mirror) {
	var all sync.WaitGroup
	for _, m := range mirrors {
		all.Go(func() { c.follow(ctx, m) })
		all.Go(func() { c.clear(ctx, m) })
	}
	all.Wait()
	c.client.CloseIdleConnections()
}

// follow looks after one mirror.
func (c *crawler) follow(ctx context.Context, m *mirror) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		c.visit(ctx, m)
		probe := time.Duration(c.o.Probe)
		timer.Reset(probe - probe/10 + rand.N(probe/5+1)) // not all at once
	}
}

// visit looks at a mirror: at all blobs when it is time for that, or when one that
// was gone answers again, else only whether it still answers.
func (c *crawler) visit(ctx context.Context, m *mirror) {
	blobs, err := c.tree.list()
	if err != nil {
		c.warn("mirrors cannot be compared with the tree: %v", err)
		return
	}
	m.mu.Lock()
	whole := m.looked.IsZero() || c.now().Sub(m.looked).Abs() >= time.Duration(c.o.Every)
	gone := m.state == stateDown || m.state == stateSlow
	m.mu.Unlock()
	if gone || !whole {
		if err := c.probe(ctx, m, blobs); err != nil || !gone {
			c.drop(ctx, m, err)
			return
		}
	}
	if err := c.look(ctx, m, blobs); err != nil {
		c.drop(ctx, m, err)
	} else if m.recovers() {
		c.become(m, stateUp, "")
	}
}

// fault is why a mirror gets nobody.
type fault struct{ state, why string }

func (f *fault) Error() string { return f.why }

// drop sends nobody to a mirror any more, if there is an error. That a wrong one
// does not answer makes it no better.
func (c *crawler) drop(ctx context.Context, m *mirror, err error) {
	if err == nil || ctx.Err() != nil {
		return
	}
	state, why := stateDown, err.Error()
	if f := (*fault)(nil); errors.As(err, &f) {
		state, why = f.state, f.why
	}
	if m.is(stateWrong) && state != stateWrong {
		return
	}
	c.become(m, state, why)
}

// become changes the state of a mirror and tells of it.
func (c *crawler) become(m *mirror, state, why string) {
	switch changed := m.become(state, why, c.now()); {
	case !changed:
	case state == stateUp:
		c.log("mirror %q is up", m.Name)
	default:
		c.warn("mirror %q is %s, and nobody is sent there: %s", m.Name, state, why)
	}
}

// probe asks for a blob that the mirror has, and for the newest ones that it lacked.
func (c *crawler) probe(ctx context.Context, m *mirror, blobs []blob) error {
	m.mu.Lock()
	var has, lacks []blob
	for _, b := range blobs {
		if m.has[b.digest] {
			has = append(has, b)
		} else {
			lacks = append(lacks, b)
		}
	}
	m.mu.Unlock()
	slices.SortFunc(lacks, func(a, b blob) int { return b.since.Compare(a.since) })
	lacks = lacks[:min(len(lacks), newest)]
	if len(has) > 0 {
		lacks = append([]blob{has[rand.N(len(has))]}, lacks...)
	}
	for _, b := range lacks {
		there, err := c.ask(ctx, m, b)
		if err != nil {
			return err
		}
		m.note(b.digest, there)
	}
	return nil
}

// look asks for all blobs, and compares some with the tree.
func (c *crawler) look(ctx context.Context, m *mirror, blobs []blob) (err error) {
	if c.counted != nil {
		defer func() { c.counted(m, outcomeOf(err)) }()
	}
	has, lacks, err := c.sweep(ctx, m, blobs)
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.has, m.looked = has, c.now()
	for d := range m.wrong {
		if !has[d] {
			delete(m.wrong, d) // it was taken away there
		}
	}
	m.mu.Unlock()
	if err := c.sample(ctx, m, blobs, has); err != nil {
		return err
	}
	return c.stale(m, lacks, len(blobs))
}

func outcomeOf(err error) string {
	var f *fault
	switch {
	case err == nil:
		return stateUp
	case errors.As(err, &f):
		return f.state
	}
	return stateDown
}

// sweep finds out which blobs a mirror has, and which it says that it lacks: of some
// nothing may be known, if it did not answer.
func (c *crawler) sweep(ctx context.Context, m *mirror, blobs []blob) (has map[digest.Digest]bool, lacks []blob, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	has = map[digest.Digest]bool{}
	failures, answers := 0, 0
	var last error
	work := make(chan blob)
	var all sync.WaitGroup
	for range together {
		all.Go(func() {
			for b := range work {
				there, err := c.ask(ctx, m, b)
				mu.Lock()
				if there {
					has[b.digest] = true
				} else if err == nil {
					lacks = append(lacks, b)
				}
				if err == nil {
					failures, answers = 0, answers+1
				} else if failures, last = failures+1, err; failures >= enough {
					cancel(err)
				}
				mu.Unlock()
			}
		})
	}
	for _, b := range blobs {
		select {
		case work <- b:
		case <-ctx.Done():
		}
	}
	close(work)
	all.Wait()
	if err := context.Cause(ctx); err != nil || answers > 0 {
		return has, lacks, err
	}
	return has, lacks, last
}

// stale tells whether a mirror lacks what the tree, of so many blobs, has had for too
// long.
func (c *crawler) stale(m *mirror, lacks []blob, all int) error {
	late, oldest := 0, time.Duration(0)
	for _, b := range lacks {
		if age := c.now().Sub(b.since); age > time.Duration(c.o.Lag) {
			late++
			oldest = max(oldest, age)
		}
	}
	if m.Partial || late == 0 {
		return nil
	}
	return &fault{stateStale, fmt.Sprintf("it lacks %d of %d blobs, one for %s", late, all, oldest.Round(time.Minute))}
}

// anyRepository stands in the URLs of a crawler: in a tree each repository reaches
// each blob.
const anyRepository = "any"

// missing tells an answer that says no from one that says nothing.
func missing(code int) bool {
	return code == http.StatusNotFound || code == http.StatusGone || code == http.StatusForbidden
}

// ask asks whether a mirror has a blob.
func (c *crawler) ask(ctx context.Context, m *mirror, b blob) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(c.o.Timeout))
	defer cancel()
	began := time.Now()
	resp, err := c.send(ctx, m, http.MethodHead, b, "")
	if err != nil {
		return false, err
	}
	_ = resp.Body.Close()
	m.answered(time.Since(began))
	switch {
	case missing(resp.StatusCode):
		return false, nil
	case resp.StatusCode != http.StatusOK:
		return false, &fault{stateDown, fmt.Sprintf("HEAD of %s is answered with status %d", b.digest, resp.StatusCode)}
	}
	// Another length may be that of a copy that is not ready.
	return resp.ContentLength < 0 || resp.ContentLength == b.size, nil
}

// send sends a request for a blob.
func (c *crawler) send(ctx context.Context, m *mirror, method string, b blob, part string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, m.at.BlobURL(anyRepository, b.digest).String(), nil)
	if err != nil {
		return nil, err
	}
	if part != "" {
		req.Header.Set("Range", part)
	}
	resp, err := c.client.Do(req)
	var timeout net.Error
	switch {
	case err == nil:
		return resp, nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return nil, &fault{stateSlow, fmt.Sprintf("it does not answer within %s", time.Duration(c.o.Timeout))}
	}
	return nil, err
}
