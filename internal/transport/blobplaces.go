package transport

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/docker/reference"

	"github.com/nbpack/nbpack/internal/transport/blobmirror"
	"github.com/nbpack/nbpack/internal/transport/httpclient"
	"github.com/nbpack/nbpack/spec"
)

const (
	// maxURLs is how many of the URLs of a descriptor are tried.
	maxURLs = 8
	// measureTime is how long a mirror may take to answer when the nearest is
	// looked for.
	measureTime = 3 * time.Second
)

// blobPlaces lists where a blob can be read, in the order to try: mirrors of blobs,
// then what the reference is read from, the registry last of that, then the URLs
// that the descriptor has and the user allows. Mirrors that gave wrong content are
// left out.
func (r *registrySource) blobPlaces(ctx context.Context, d ocispec.Descriptor) ([]*endpoint, error) {
	named, err := reference.WithDigest(reference.TrimNamed(r.named), d.Digest)
	if err != nil {
		return nil, fmt.Errorf("fetch blob: %w", err)
	}
	usual, err := r.s.endpoints(named)
	if err != nil {
		return nil, err
	}
	all := append(r.s.blobMirrors(ctx, d.Digest), usual...)
	return slices.DeleteFunc(append(all, r.s.foreign(d)...), func(e *endpoint) bool {
		return e.mirror != "" && r.s.c.health.Lied(e.mirror, d.Digest)
	}), nil
}

// blobMirrors are the mirrors of blobs that may be asked now.
func (s *session) blobMirrors(ctx context.Context, d digest.Digest) []*endpoint {
	mirrors := s.c.mirrors.of(s.ref.Name, s.mirrorPrefix())
	mirrors = slices.DeleteFunc(mirrors, func(m blobmirror.Mirror) bool { return !s.c.health.Usable(m.String()) })
	if s.c.o.NearestMirror && len(mirrors) > 1 {
		s.measure(ctx, mirrors, d)
		mirrors = slices.DeleteFunc(mirrors, func(m blobmirror.Mirror) bool { return !s.c.health.Usable(m.String()) })
		s.c.health.Nearest(mirrors)
	}
	var out []*endpoint
	for _, m := range mirrors {
		out = append(out, s.mirrorEndpoint(m, d))
	}
	return out
}

func (s *session) mirrorEndpoint(m blobmirror.Mirror, d digest.Digest) *endpoint {
	_, repo, _ := strings.Cut(s.ref.Name, "/")
	return &endpoint{
		s: s, tries: 1, host: m.Host(), insecure: s.c.insecure(false), mirror: m.String(),
		fixed: m.BlobURL(repo, d), guard: &httpclient.Guard{Named: s.c.mirrors.hosts(), Local: s.c.o.AllowPrivateHosts},
	}
}

// measure finds out how far away mirrors are, all at once, where that is not known.
func (s *session) measure(ctx context.Context, mirrors []blobmirror.Mirror, d digest.Digest) {
	done, err := s.c.measuring.take(ctx, "") // one of many downloads does it for all
	if err != nil {
		return // who asks for a mirror next fails by the same end
	}
	defer done()
	limited, cancel := context.WithTimeout(ctx, measureTime)
	defer cancel()
	var all sync.WaitGroup
	for _, m := range s.c.health.Unmeasured(mirrors) {
		all.Go(func() {
			e := s.mirrorEndpoint(m, d)
			req, err := e.request(limited, http.MethodHead, "")
			if err != nil {
				return
			}
			began := time.Now()
			resp, err := e.Do(req)
			if ctx.Err() != nil {
				return // it was not the mirror that ended this
			}
			if err != nil {
				s.c.logf("mirror %q: %v", e.mirror, err)
				s.c.health.Failed(e.mirror)
				return
			}
			drain(resp) // also where it lacks this blob, the way to it is known
			s.c.health.Answered(e.mirror, time.Since(began))
		})
	}
	all.Wait()
}

// foreign are the places that the descriptor itself names, as far as the user
// allows their hosts.
func (s *session) foreign(d ocispec.Descriptor) []*endpoint {
	var out []*endpoint
	for _, text := range d.URLs {
		u, err := url.Parse(text)
		if err != nil || len(out) == maxURLs {
			continue
		}
		g := &httpclient.Guard{Hosts: append([]string{}, s.c.o.URLHosts...), Local: s.c.o.AllowPrivateHosts}
		if err := g.Admits(u); err != nil {
			s.c.logf("blob %s: %v", short(d.Digest), err)
			continue
		}
		u.Fragment = ""
		out = append(out, &endpoint{s: s, tries: mirrorTries, host: u.Host, insecure: s.c.insecure(false), mirror: u.Scheme + "://" + u.Host, fixed: u, guard: g})
	}
	return out
}

// urlAdvice says how a blob that is missing can be had from where its descriptor says.
func (s *session) urlAdvice(d ocispec.Descriptor) string {
	var hosts []string
	for _, text := range d.URLs {
		if u, err := url.Parse(text); err == nil && u.Host != "" && !httpclient.Lists(s.c.o.URLHosts, u) && !slices.Contains(hosts, u.Host) {
			hosts = append(hosts, u.Host)
		}
	}
	if len(hosts) == 0 {
		return ""
	}
	return "the image says that it is at " + quoteList(hosts) + "; --allow-url-host HOST lets it be read from there"
}

// elsewhere is what to do where a place did not give a blob.
func (e *endpoint) elsewhere(err error) {
	var content *spec.Refusal
	var absent *NotFoundError
	switch {
	case e.mirror == "":
		e.s.c.logf("registry %q: %v; trying what the descriptor names", e.host, err)
		return
	case e.fixed != nil && !errors.As(err, &absent) && !errors.As(err, &content):
		// It is the way to the mirror, or its state. Another size than expected may
		// be the fault of the image.
		e.s.c.health.Failed(e.mirror)
	}
	e.s.c.logf("mirror %q: %v; trying the next", e.mirror, err)
}

// IsURLHost tells whether s may be one of [Options].URLHosts: a host, with a port or
// without.
func IsURLHost(s string) bool { return s != "" && !strings.ContainsAny(s, "/@ ") }
