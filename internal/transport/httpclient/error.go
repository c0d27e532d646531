package httpclient

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"syscall"
)

// TransferError is a request that got no answer.
type TransferError struct {
	method, where string
	err           error
}

// Error names the request. The query of the URL is left out: those of storage
// networks carry signatures.
func (e *TransferError) Error() string { return fmt.Sprintf("%s %q: %v", e.method, e.where, e.err) }

// Unwrap gives the cause.
func (e *TransferError) Unwrap() error { return e.err }

// Hint knows the causes that a setting cures, and what is to be looked at.
func (e *TransferError) Hint() string {
	var cert *tls.CertificateVerificationError
	var dns *net.DNSError
	switch {
	case errors.As(e.err, &dns) && dns.IsNotFound:
		return "check the name of the host"
	case errors.Is(e.err, syscall.ECONNREFUSED):
		return "nothing listens there: check host and port; plain http is tried with --tls-verify=false only"
	case errors.As(e.err, &cert):
		return "put the registry's CA certificate into certs.d, or name its directory with --cert-dir"
	case errors.Is(e.err, http.ErrSchemeMismatch):
		return "the registry speaks plain http, which --tls-verify=false allows"
	}
	return ""
}

// requestError describes a failed request with the URL where it failed, which
// after redirects is not the one it began with.
func requestError(req *http.Request, err error) error {
	u := req.URL
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
		if at, perr := url.Parse(ue.URL); perr == nil {
			u = req.URL.ResolveReference(at) // a Location may be relative
		}
	}
	return &TransferError{req.Method, u.Scheme + "://" + u.Host + u.Path, err}
}
