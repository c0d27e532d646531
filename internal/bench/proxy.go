package main

import (
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
)

// proxy stands before a registry and counts what passes.
type proxy struct {
	requests atomic.Int64
	bytes    atomic.Int64 // of bodies, both ways
	registry string       // host:port
	next     *httputil.ReverseProxy
}

func newProxy(registry string) *proxy {
	p := &proxy{registry: registry}
	target := &url.URL{Scheme: "http", Host: registry}
	p.next = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // the registry names itself in its answers
		},
		ModifyResponse: func(r *http.Response) error {
			r.Body = p.count(r.Body)
			return nil
		},
		Transport: &http.Transport{MaxIdleConnsPerHost: 16, DisableCompression: true},
	}
	return p
}

// ServeHTTP implements [http.Handler].
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.requests.Add(1)
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = p.count(r.Body)
	}
	p.next.ServeHTTP(w, r)
}

// take gives what was counted since it was called last.
func (p *proxy) take() (requests, bytes int64) {
	return p.requests.Swap(0), p.bytes.Swap(0)
}

func (p *proxy) count(body io.ReadCloser) io.ReadCloser { return &counted{body, &p.bytes} }

type counted struct {
	io.ReadCloser
	n *atomic.Int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.ReadCloser.Read(b)
	c.n.Add(int64(n))
	return n, err
}
