package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"go.podman.io/image/v5/pkg/tlsclientconfig"
)

const maxRedirects = 10

// transportKey tells connections apart that need a TLS configuration of their
// own.
type transportKey struct {
	host     string
	insecure bool
	guarded  bool // not to a private address …
	private  bool // … unless that is allowed for this host
}

// counter counts traffic: of one Source, or of a whole Client.
type counter struct{ requests, bytes atomic.Int64 }

// attempt travels with a request through http.Client and its redirects.
type attempt struct {
	count *counter
	// insecure allows unverified certificates and plain http.
	insecure bool
	// token marks a request that carries credentials in its URL or body; it
	// never leaves its origin.
	token bool
	// guard bounds where mirrors, and URLs that images name, may lead. nil: the
	// registry itself is asked.
	guard *guard
}

type attemptKey struct{}

func attemptOf(ctx context.Context) attempt {
	a, _ := ctx.Value(attemptKey{}).(attempt)
	return a
}

// policyError is a refusal of ours: trying again would not help.
type policyError struct{ msg string }

func (e *policyError) Error() string { return e.msg }

func refuse(format string, a ...any) error { return &policyError{fmt.Sprintf(format, a...)} }

// checkRedirect limits redirects, keeps them from going to plain http, and
// takes credentials off once they left the origin of the first request. That
// is judged over the whole chain, because net/http copies the headers of the
// first request to every later one.
func checkRedirect(req *http.Request, via []*http.Request) error {
	a := attemptOf(req.Context())
	if len(via) > maxRedirects {
		return refuse("stopped after %d redirects", maxRedirects)
	}
	if req.URL.Scheme != "https" && !(req.URL.Scheme == "http" && (a.insecure || via[0].URL.Scheme == "http")) {
		return refuse("refused a redirect from %s to %q", via[0].URL.Scheme, req.URL.Scheme+"://"+req.URL.Host)
	}
	left := !sameOrigin(via[0].URL, req.URL)
	for _, r := range via[1:] {
		left = left || !sameOrigin(via[0].URL, r.URL)
	}
	if left && a.token {
		return refuse("refused to follow a token request from %q to %q", via[0].URL.Host, req.URL.Host)
	}
	if left {
		req.Header.Del("Authorization")
	}
	return nil
}

// sameOrigin compares scheme, host and port.
func sameOrigin(a, b *url.URL) bool {
	return strings.EqualFold(a.Scheme, b.Scheme) && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if strings.EqualFold(u.Scheme, "http") {
		return "80"
	}
	return "443"
}

// roundTripper sends single requests: it finds the connections with the right
// TLS configuration, and counts.
type roundTripper struct{ c *Client }

// RoundTrip implements http.RoundTripper.
func (r roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	a := attemptOf(req.Context())
	k := transportKey{host: req.URL.Host, insecure: a.insecure}
	if a.guard != nil {
		if err := a.guard.admits(req.URL); err != nil {
			return nil, err
		}
		k.guarded, k.private = true, a.guard.mayBePrivate(req.URL)
	}
	t, err := r.c.transportFor(k)
	if err != nil {
		return nil, err
	}
	counts := []*counter{&r.c.total}
	if a.count != nil {
		counts = append(counts, a.count)
	}
	// Counted when it is on the wire, so a failed connect is no request.
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		WroteHeaders: func() {
			for _, c := range counts {
				c.requests.Add(1)
			}
		},
	}))
	resp, err := t.RoundTrip(req)
	if err == nil {
		resp.Body = &countedBody{resp.Body, counts}
	}
	return resp, err
}

type countedBody struct {
	io.ReadCloser
	counts []*counter
}

// Read implements io.Reader.
func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	for _, c := range b.counts {
		c.bytes.Add(int64(n))
	}
	return n, err
}

func (c *Client) transportFor(k transportKey) (*http.Transport, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t, ok := c.transports[k]; ok {
		return t, nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: k.insecure}
	dir, err := c.certDir(k.host)
	if err == nil && dir != "" {
		err = tlsclientconfig.SetupCertificates(dir, conf)
	}
	if err != nil {
		return nil, refuse("read certificates for %q: %v", k.host, err)
	}
	if k.guarded && c.o.CertDir != "" {
		conf.Certificates = nil // they tell the registry who we are, and nobody else
	}
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dial(k),
		TLSClientConfig:        conf,
		TLSHandshakeTimeout:    30 * time.Second,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConnsPerHost:    8,
		MaxResponseHeaderBytes: 256 << 10,
		ForceAttemptHTTP2:      true,
		// Blobs are counted and hashed as they are stored.
		DisableCompression: true,
	}
	c.transports[k] = t
	return t, nil
}

// certDir finds the directory with the certificates for a host, in the places
// where podman and docker have them (containers-certs.d(5)). The first that
// exists counts.
func (c *Client) certDir(hostPort string) (string, error) {
	if c.o.CertDir != "" {
		return c.o.CertDir, nil
	}
	var bases []string
	if conf, err := os.UserConfigDir(); err == nil {
		bases = append(bases, filepath.Join(conf, "containers/certs.d"))
	}
	bases = append(bases, "/etc/containers/certs.d", "/etc/docker/certs.d")
	for _, base := range bases {
		dir := filepath.Join(base, hostPort)
		_, err := os.Stat(dir)
		if err == nil {
			return dir, nil
		}
		if !isNotExist(err) && !errors.Is(err, os.ErrPermission) {
			return "", err
		}
	}
	return "", nil
}
