package httpclient

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"

	"go.podman.io/image/v5/pkg/tlsclientconfig"
)

// Options configure a [Client].
type Options struct {
	// CertDir is a directory with certificates for every host; empty: those that
	// podman and docker have for each.
	CertDir string
	// UserAgent is sent with every request, unless it is empty.
	UserAgent string
	// Stall is how long a host may send nothing, or next to nothing, before the
	// connection counts as broken ([ErrStalled]). 0: 60 seconds.
	Stall time.Duration
	// Instead answers single requests in place of the network, and then nothing is
	// counted. May be nil.
	Instead http.RoundTripper
}

// Client sends requests. It holds the connections of all hosts, and is safe for
// concurrent use. [New] makes it.
type Client struct {
	o     Options
	http  *http.Client
	total Counter

	mu         sync.Mutex
	transports map[connKey]*http.Transport
}

// New makes a client. It reads no files yet.
func New(o Options) *Client {
	if o.Stall == 0 {
		o.Stall = defaultStall
	}
	c := &Client{o: o, transports: map[connKey]*http.Transport{}}
	c.http = &http.Client{Transport: o.Instead, CheckRedirect: checkRedirect}
	if o.Instead == nil {
		c.http.Transport = roundTripper{c}
	}
	return c
}

// Do sends a request once, whatever the answer, and follows redirects. While somebody
// waits for it, or reads the body of the response, silence ends it with [ErrStalled].
// Errors are a [TransferError] around what went wrong, a [PolicyError] where this
// package refused.
func (c *Client) Do(req *http.Request, rules Rules) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(context.WithValue(req.Context(), rulesKey{}, rules))
	w := &watchdog{limit: c.o.Stall, cancel: cancel}
	if rules.Guard != nil {
		w.limit = min(w.limit, mirrorStall)
	}
	w.timer = time.AfterFunc(w.limit, func() { cancel(ErrStalled) })
	req = req.WithContext(ctx)
	if c.o.UserAgent != "" {
		req.Header.Set("User-Agent", c.o.UserAgent)
	}
	if req.Body != nil && req.Body != http.NoBody {
		req.Body = &watchedUpload{req.Body, w}
		if get := req.GetBody; get != nil {
			req.GetBody = func() (io.ReadCloser, error) {
				b, err := get()
				return &watchedUpload{b, w}, err
			}
		}
	}
	resp, err := c.http.Do(req)
	w.timer.Stop()
	if err != nil {
		if errors.Is(context.Cause(ctx), ErrStalled) {
			err = ErrStalled
		}
		cancel(nil)
		return nil, requestError(req, err)
	}
	resp.Body = &watchedBody{ReadCloser: resp.Body, ctx: ctx, w: w}
	return resp, nil
}

// Total is what all requests took together.
func (c *Client) Total() *Counter { return &c.total }

// Close closes idle connections.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.transports {
		t.CloseIdleConnections()
	}
}

// connKey tells connections apart that need a TLS configuration of their
// own.
type connKey struct {
	host     string
	insecure bool
	guarded  bool // not to a private address …
	private  bool // … unless that is allowed for this host
}

// roundTripper sends single requests: it finds the connections with the right
// TLS configuration, and counts.
type roundTripper struct{ c *Client }

// RoundTrip implements http.RoundTripper.
func (r roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	rules := rulesOf(req.Context())
	k := connKey{host: req.URL.Host, insecure: rules.Insecure}
	if rules.Guard != nil {
		if err := rules.Guard.Admits(req.URL); err != nil {
			return nil, err
		}
		k.guarded, k.private = true, rules.Guard.mayBePrivate(req.URL)
	}
	t, err := r.c.transportFor(k)
	if err != nil {
		return nil, err
	}
	counts := []*Counter{&r.c.total}
	if rules.Count != nil {
		counts = append(counts, rules.Count)
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
	counts []*Counter
}

// Read implements io.Reader.
func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	for _, c := range b.counts {
		c.bytes.Add(int64(n))
	}
	return n, err
}

func (c *Client) transportFor(k connKey) (*http.Transport, error) {
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
		return nil, Refuse("read certificates for %q: %v", k.host, err)
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
