package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/nbpack/nbpack/internal/transport/httpclient"
	"github.com/nbpack/nbpack/spec"
)

const (
	// maxTries is how often a request is sent before its failure is believed.
	maxTries = 5
	// mirrorTries is the same where another place has the content, too.
	mirrorTries = 2
	// firstWait doubles with every try, up to maxWait.
	firstWait = 500 * time.Millisecond
	maxWait   = 30 * time.Second
	// maxRetryAfter bounds what a registry may ask for.
	maxRetryAfter = 60 * time.Second
)

// StatusError is an answer of a registry that is not a success.
type StatusError struct {
	Method, Host, Path string
	Code               int
	// Message is what the registry says about it, shortened. Not trusted.
	Message    string
	retryAfter time.Duration
}

// Error names the request and the status.
func (e *StatusError) Error() string {
	msg := fmt.Sprintf("%s %q: registry answered %d %s", e.Method, e.Host+e.Path, e.Code, http.StatusText(e.Code))
	if e.Message != "" {
		msg += fmt.Sprintf(": %q", e.Message)
	}
	return msg
}

// AuthError is a refusal of access.
type AuthError struct {
	Host, Repository string
	Err              error // what the registry or token server answered; may be nil
}

// Error names registry and repository.
func (e *AuthError) Error() string {
	msg := fmt.Sprintf("registry %q denies access to %q", e.Host, e.Repository)
	if e.Err != nil {
		msg += ": " + e.Err.Error()
	}
	return msg
}

// Unwrap gives the cause.
func (e *AuthError) Unwrap() error { return e.Err }

// Hint says how to get access.
func (e *AuthError) Hint() string {
	return "log in with podman login or docker login, or pass --authfile or --creds"
}

// Do sends a request until it is answered with something other than a
// passing failure: a broken connection, 408, 429 or 5xx. It implements the
// Client interface of oras-go's remote.Repository. 401 and 403 are errors.
func (e *endpoint) Do(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	for try := 1; ; try++ {
		resp, err := e.once(req)
		if err == nil && passing(resp.StatusCode) {
			err = statusError(resp)
			drain(resp)
		}
		if err == nil {
			return e.denied(resp)
		}
		if try >= e.tries || isFinal(ctx, err) {
			return nil, err
		}
		if err := e.s.c.backoff(ctx, try, err); err != nil {
			return nil, err
		}
		if err := rewind(req); err != nil {
			return nil, err
		}
	}
}

// denied turns 401 and 403 into an AuthError.
func (e *endpoint) denied(resp *http.Response) (*http.Response, error) {
	if resp.StatusCode != http.StatusUnauthorized && resp.StatusCode != http.StatusForbidden {
		return resp, nil
	}
	err := &AuthError{Host: e.host, Repository: e.repo, Err: statusError(resp)}
	drain(resp)
	return nil, err
}

// passing reports whether a status may be different next time.
func passing(code int) bool {
	switch code {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return false
	}
	return code >= 500
}

// isFinal reports whether an error would only come again.
func isFinal(ctx context.Context, err error) bool {
	var (
		status  *StatusError
		policy  *httpclient.PolicyError
		denied  *AuthError
		content *spec.Refusal
		absent  *NotFoundError
		cert    *tls.CertificateVerificationError
		dns     *net.DNSError
	)
	switch {
	case errors.Is(err, http.ErrSchemeMismatch):
		return true
	case ctx.Err() != nil, errors.As(err, &policy), errors.As(err, &denied), errors.As(err, &content), errors.As(err, &absent), errors.As(err, &cert):
		return true
	case errors.As(err, &dns):
		return dns.IsNotFound
	case errors.As(err, &status):
		return !passing(status.Code)
	}
	return false
}

// backoff waits before the next try: exponentially longer, spread so that
// many clients do not come back at once, and as long as the registry asks for.
func (c *Client) backoff(ctx context.Context, try int, cause error) error {
	wait := min(firstWait<<(try-1), maxWait)
	wait = wait/2 + rand.N(wait/2)
	var status *StatusError
	if errors.As(cause, &status) && status.retryAfter > wait {
		wait = min(status.retryAfter, maxRetryAfter)
	}
	c.logf("%v; trying again in %s", cause, wait.Round(time.Millisecond))
	return c.o.Sleep(ctx, wait)
}

// statusError describes a response; it reads some of the body.
func statusError(resp *http.Response) *StatusError {
	e := &StatusError{Method: resp.Request.Method, Host: resp.Request.URL.Host, Path: resp.Request.URL.Path, Code: resp.StatusCode}
	e.retryAfter = retryAfter(resp.Header.Get("Retry-After"))
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 8<<10))
	var body struct {
		Errors []struct{ Code, Message string }
	}
	if spec.UnmarshalStrict(b, &body) == nil && len(body.Errors) > 0 {
		e.Message = strings.TrimSpace(body.Errors[0].Code + " " + body.Errors[0].Message)
		e.Message = e.Message[:min(len(e.Message), 200)]
	}
	return e
}

// retryAfter reads both forms of the header (RFC 9110, section 10.2.3).
func retryAfter(h string) time.Duration {
	if n, err := strconv.Atoi(h); err == nil && n > 0 {
		return time.Duration(min(n, 3600)) * time.Second
	}
	if t, err := http.ParseTime(h); err == nil {
		return time.Until(t)
	}
	return 0
}

// Unreachable tells that an error is about the way to a registry, or about its
// state, and not about what was asked for: it may be gone the next time.
func Unreachable(err error) bool {
	var transfer *httpclient.TransferError
	var status *StatusError
	var cert *tls.CertificateVerificationError
	switch {
	case errors.As(err, &status):
		return passing(status.Code)
	case errors.As(err, &transfer):
		return !errors.As(err, &cert) && !errors.Is(err, http.ErrSchemeMismatch)
	}
	return errors.Is(err, httpclient.ErrStalled) || errors.Is(err, errBroken)
}
