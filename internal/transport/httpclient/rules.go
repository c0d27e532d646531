package httpclient

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
)

const maxRedirects = 10

// Counter counts the traffic of requests, for whoever wants to know. It may be read
// and shared while they go on.
type Counter struct{ requests, bytes atomic.Int64 }

// Requests counts those that were sent, those of redirects too.
func (c *Counter) Requests() int { return int(c.requests.Load()) }

// Bytes counts those of response bodies that were read.
func (c *Counter) Bytes() int64 { return c.bytes.Load() }

// Rules are those of one request and of the redirects that it follows.
type Rules struct {
	// Count is told of the traffic, beside [Client.Total]. May be nil.
	Count *Counter
	// Insecure allows unverified certificates, and redirects to plain http.
	Insecure bool
	// Secret marks a request that carries credentials in its URL or body; it
	// never leaves its origin.
	Secret bool
	// Guard bounds where mirrors, and URLs that images name, may lead. nil: the
	// registry itself is asked.
	Guard *Guard
}

type rulesKey struct{}

func rulesOf(ctx context.Context) Rules {
	rules, _ := ctx.Value(rulesKey{}).(Rules)
	return rules
}

// PolicyError is a refusal of ours: trying again would not help.
type PolicyError struct{ msg string }

// Error says what was refused.
func (e *PolicyError) Error() string { return e.msg }

// Refuse makes a PolicyError, as fmt.Sprintf does a text.
func Refuse(format string, a ...any) error { return &PolicyError{fmt.Sprintf(format, a...)} }

// checkRedirect limits redirects, keeps them from going to plain http, and
// takes credentials off once they left the origin of the first request. That
// is judged over the whole chain, because net/http copies the headers of the
// first request to every later one.
func checkRedirect(req *http.Request, via []*http.Request) error {
	rules := rulesOf(req.Context())
	if len(via) > maxRedirects {
		return Refuse("stopped after %d redirects", maxRedirects)
	}
	if req.URL.Scheme != "https" && !(req.URL.Scheme == "http" && (rules.Insecure || via[0].URL.Scheme == "http")) {
		return Refuse("refused a redirect from %s to %q", via[0].URL.Scheme, req.URL.Scheme+"://"+req.URL.Host)
	}
	left := !SameOrigin(via[0].URL, req.URL)
	for _, r := range via[1:] {
		left = left || !SameOrigin(via[0].URL, r.URL)
	}
	if left && rules.Secret {
		return Refuse("refused to follow a token request from %q to %q", via[0].URL.Host, req.URL.Host)
	}
	if left {
		req.Header.Del("Authorization")
	}
	return nil
}

// SameOrigin tells whether scheme, host and port of two URLs are the same.
func SameOrigin(a, b *url.URL) bool {
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
