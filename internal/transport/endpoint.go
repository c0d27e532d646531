package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/pkg/sysregistriesv2"
	"oras.land/oras-go/v2/registry"

	"github.com/nbpack/nbpack/internal/transport/httpclient"
)

// session is the use of a registry by one Source, Stage or listing.
type session struct {
	c     *Client
	ref   Reference
	count httpclient.Counter
	// push asks for tokens that allow writing, from the first request on.
	push bool

	mu     sync.Mutex
	scheme string
}

func (s *session) setScheme(scheme string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scheme = scheme
}

// endpoint is one place that serves the repository: the registry itself or a
// mirror of it. It is a client for oras-go's remote.Repository, too.
type endpoint struct {
	s        *session
	host     string // "host[:port]"
	repo     string
	from     string // another repository to mount blobs from, may be empty
	insecure bool
	ns       string // the "ns" parameter of a proxy, see registries.conf
	tries    int    // how often to send a request

	// fixed is where one blob lies that is not asked for in a registry's way,
	// without credentials, and guard where that may lead.
	fixed *url.URL
	guard *httpclient.Guard
	// mirror is its name where its answers are not those of the registry.
	mirror string
}

// endpoints lists where named can be read, in the order to try: mirrors as
// registries.conf allows them for a tag or a digest, the registry last.
func (s *session) endpoints(named reference.Named) ([]*endpoint, error) {
	configured, err := s.configured(named)
	return append(s.mirrors(), configured...), err
}

// mirrors are those that the caller knows of and that are asked as the registry is.
func (s *session) mirrors() []*endpoint {
	best := s.mirrorPrefix()
	var out []*endpoint
	for _, m := range s.c.o.Mirrors[best] {
		if strings.Contains(m, "://") {
			continue // for blobs only
		}
		host, repo, _ := strings.Cut(m+strings.TrimPrefix(s.ref.Name, best), "/")
		out = append(out, &endpoint{s: s, tries: mirrorTries, host: host, repo: repo, insecure: s.c.insecure(false), mirror: m})
	}
	return out
}

// mirrorPrefix is the longest key of Options.Mirrors that the repository is under.
func (s *session) mirrorPrefix() string {
	best := ""
	for prefix := range s.c.o.Mirrors {
		if (s.ref.Name == prefix || strings.HasPrefix(s.ref.Name, prefix+"/")) && len(prefix) > len(best) {
			best = prefix
		}
	}
	return best
}

// configured are the registry and what registries.conf says of it.
func (s *session) configured(named reference.Named) ([]*endpoint, error) {
	reg, err := s.findRegistry()
	if err != nil {
		return nil, err
	}
	if reg == nil {
		e, err := s.primary()
		return []*endpoint{e}, err
	}
	sources, err := reg.PullSourcesFromReference(named)
	if err != nil {
		return nil, fmt.Errorf("apply registries.conf to %q: %w", s.ref, err)
	}
	var out []*endpoint
	for i, p := range sources {
		tries, mirror := mirrorTries, p.Reference.Name()
		if i == len(sources)-1 {
			tries, mirror = maxTries, ""
		}
		out = append(out, &endpoint{
			tries: tries, mirror: mirror,
			s: s, host: reference.Domain(p.Reference), repo: reference.Path(p.Reference),
			insecure: s.c.insecure(p.Endpoint.Insecure), ns: p.Endpoint.NamespaceProxy,
		})
	}
	return out, nil
}

// primary is the registry exactly as the reference names it: where to write.
func (s *session) primary() (*endpoint, error) {
	reg, err := s.findRegistry()
	if err != nil {
		return nil, err
	}
	host, repo, _ := strings.Cut(s.ref.Name, "/")
	return &endpoint{s: s, tries: maxTries, host: host, repo: repo, insecure: s.c.insecure(reg != nil && reg.Insecure)}, nil
}

func (s *session) findRegistry() (*sysregistriesv2.Registry, error) {
	reg, err := sysregistriesv2.FindRegistry(s.c.sys, s.ref.Name)
	if err != nil {
		return nil, fmt.Errorf("read registries.conf: %w", err)
	}
	if reg != nil && reg.Blocked {
		return nil, httpclient.Refuse("registry %q is blocked by registries.conf", reg.Prefix)
	}
	return reg, nil
}

// insecure decides between the user's flag, which wins, and the configuration.
func (c *Client) insecure(configured bool) bool {
	if c.o.TLSVerify != nil {
		return !*c.o.TLSVerify
	}
	return configured
}

// address is the "host[:port]" that requests go to. There is one registry whose names
// are not where it answers; oras-go, which makes some of the URLs, knows it.
func (e *endpoint) address() string { return registry.Reference{Registry: e.host}.Host() }

// url gives the URL of a part of the repository, such as "manifests/latest".
// The scheme is set when the request is sent.
func (e *endpoint) url(part string) string {
	if e.fixed != nil {
		return e.fixed.String()
	}
	u := url.URL{Scheme: "https", Host: e.address(), Path: "/v2/" + e.repo + "/" + part}
	return u.String()
}

func (e *endpoint) request(ctx context.Context, method, part string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, e.url(part), nil)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	return req, nil
}

// schemes lists which schemes to try, in order. Without permission that is
// https alone, whatever happened before.
func (e *endpoint) schemes() []string {
	if e.fixed != nil {
		return []string{e.fixed.Scheme}
	}
	if !e.insecure {
		return []string{"https"}
	}
	e.s.c.mu.Lock()
	known := e.s.c.schemes[e.host]
	e.s.c.mu.Unlock()
	switch {
	case known != "":
		return []string{known}
	case e.s.c.o.PreferHTTP != nil && e.s.c.o.PreferHTTP(e.host):
		return []string{"http", "https"}
	}
	return []string{"https", "http"}
}

func (e *endpoint) settle(scheme string) {
	if e.fixed != nil {
		return // it says nothing about the registry
	}
	e.s.c.mu.Lock()
	e.s.c.schemes[e.host] = scheme
	e.s.c.mu.Unlock()
	e.s.setScheme(scheme)
}

// once sends a request, on the scheme that works. There is no ping: the
// request itself finds that out.
func (e *endpoint) once(req *http.Request) (*http.Response, error) {
	schemes := e.schemes()
	var first error
	for i, scheme := range schemes {
		last := i == len(schemes)-1
		if i > 0 {
			if err := rewind(req); err != nil {
				return nil, err
			}
		}
		resp, err := e.authorized(e.prepare(req, scheme))
		switch {
		case err == nil && !last && scheme == "http" && resp.StatusCode == http.StatusBadRequest:
			// So answers a TLS server that is spoken to in plain http.
			_ = resp.Body.Close()
			err = fmt.Errorf("by http: %w", statusError(resp))
		case err == nil:
			e.settle(scheme)
			return resp, nil
		case errors.Is(err, http.ErrSchemeMismatch): // what the other scheme said counts, if there is one
		case isFinal(req.Context(), err):
			return nil, err
		}
		// Which of two errors tells more? Not that it is the other scheme.
		if first == nil || errors.Is(first, http.ErrSchemeMismatch) {
			first = err
		}
		if !last {
			e.s.c.logf("registry %q does not answer by %s (%v); trying %s", e.host, scheme, err, schemes[i+1])
		}
	}
	return nil, first
}

// prepare makes the copy of a request that is sent by one scheme.
func (e *endpoint) prepare(req *http.Request, scheme string) *http.Request {
	r := req.Clone(req.Context())
	if r.URL.Host == e.address() && e.fixed == nil {
		r.URL.Scheme = scheme
		if e.ns != "" {
			q := r.URL.Query()
			q.Set("ns", e.ns)
			r.URL.RawQuery = q.Encode()
		}
	}
	return r
}

// send sends a request once, over a connection to which the rules of this endpoint
// apply.
func (e *endpoint) send(req *http.Request) (*http.Response, error) {
	return e.s.c.http.Do(req, httpclient.Rules{Count: &e.s.count, Insecure: e.insecure, Guard: e.guard})
}

// rewind gives a request a fresh copy of its body.
func rewind(req *http.Request) error {
	if req.Body == nil || req.Body == http.NoBody {
		return nil
	}
	if req.GetBody == nil {
		return errors.New("request body cannot be sent twice")
	}
	var err error
	req.Body, err = req.GetBody()
	return err
}

// drain lets a connection be used again when little is left to read.
func drain(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	_ = resp.Body.Close()
}
