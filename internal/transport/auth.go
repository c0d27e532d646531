package transport

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"go.podman.io/image/v5/pkg/docker/config"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/nbpack/nbpack/internal/transport/httpclient"
	"github.com/nbpack/nbpack/spec"
)

// maxToken bounds the answer of a token server.
const maxToken = 256 << 10

// authorized sends a request with the credentials or the token that are known
// to be wanted, and answers a 401 of the registry by getting them.
//
// Tokens come from the cache of oras-go, but not through its auth.Client: that
// one refuses token servers with private addresses, which is where those of a
// company are, and allows plain http ones on other hosts.
func (e *endpoint) authorized(req *http.Request) (*http.Response, error) {
	if e.fixed != nil {
		return e.send(req) // nobody there is told who we are
	}
	ctx := req.Context()
	key, scope := e.host+"/"+e.repo, e.scope()
	home := req.URL.Host == e.address()
	if home {
		if scheme, err := e.s.c.tokens.GetScheme(ctx, key); err == nil {
			if token, err := e.s.c.tokens.GetToken(ctx, key, scheme, scopeKey(scheme, scope)); err == nil {
				req.Header.Set("Authorization", scheme.String()+" "+token)
			}
		}
	} else {
		req.Header.Del("Authorization")
	}
	resp, err := e.send(req)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	// Only the registry itself may ask: not the end of a redirect.
	if !home || !httpclient.SameOrigin(req.URL, resp.Request.URL) {
		return resp, nil
	}
	ch, ok := pickChallenge(resp.Header)
	if !ok {
		return resp, nil
	}
	scheme, token, err := e.answer(ctx, key, scope, req.URL, ch)
	if err != nil {
		_ = resp.Body.Close()
		return nil, err
	}
	if token == "" {
		return resp, nil // nothing to offer
	}
	drain(resp)
	again := req.Clone(ctx)
	if err := rewind(again); err != nil {
		return nil, err
	}
	again.Header.Set("Authorization", scheme.String()+" "+token)
	return e.send(again)
}

// scope is what a token must allow. Asking for everything at once saves a
// second token when an image is pushed. A blob is mounted with the right to
// read the repository that has it, too.
func (e *endpoint) scope() string {
	actions := ":pull"
	if e.s.push {
		actions = ":pull,push"
	}
	scope := "repository:" + e.repo + actions
	if e.from != "" {
		scope += " repository:" + e.from + ":pull"
	}
	return scope
}

func scopeKey(scheme auth.Scheme, scope string) string {
	if scheme == auth.SchemeBasic {
		return ""
	}
	return scope
}

// answer gets what a challenge asks for. An empty token: there are no
// credentials, and without them this registry cannot be used.
func (e *endpoint) answer(ctx context.Context, key, scope string, from *url.URL, ch challenge) (auth.Scheme, string, error) {
	cred, err := e.credential()
	if err != nil {
		return 0, "", err
	}
	if ch.scheme == "basic" {
		switch {
		case cred.Username != "":
		case cred.Password != "":
			return 0, "", &AuthError{Host: e.host, Repository: e.repo, Err: errors.New("it wants a user name and a password, not a bare token")}
		default:
			return auth.SchemeBasic, "", nil
		}
		token, err := e.s.c.tokens.Set(ctx, key, auth.SchemeBasic, "", func(context.Context) (string, error) {
			return base64.StdEncoding.EncodeToString([]byte(cred.Username + ":" + cred.Password)), nil
		})
		return auth.SchemeBasic, token, err
	}
	realm, err := checkRealm(ch.params["realm"], from)
	if err != nil {
		return 0, "", err
	}
	token, err := e.s.c.tokens.Set(ctx, key, auth.SchemeBearer, scope, func(ctx context.Context) (string, error) {
		return e.fetchToken(ctx, realm, ch.params["service"], scope, cred)
	})
	return auth.SchemeBearer, token, err
}

// checkRealm allows a token server that is spoken to by https, or that is the
// registry itself. Anything else could be a way to get at credentials, or at
// other services of the network that this machine is in.
func checkRealm(realm string, registry *url.URL) (*url.URL, error) {
	u, err := url.Parse(realm)
	if err != nil || u.Host == "" || u.User != nil || (u.Scheme != "https" && u.Scheme != "http") {
		return nil, httpclient.Refuse("registry %q names the malformed token server %q", registry.Host, realm)
	}
	if u.Scheme != "https" && !httpclient.SameOrigin(u, registry) {
		return nil, httpclient.Refuse("registry %q names the token server %q, which is neither https nor the registry itself: no credentials were sent", registry.Host, realm)
	}
	return u, nil
}

// credential finds the credentials for this endpoint.
func (e *endpoint) credential() (auth.Credential, error) {
	if given := e.s.c.o.given(); given != auth.EmptyCredential && e.host == e.s.ref.Host() {
		if mine, err := e.s.c.ownsCreds(e.host); mine || err != nil {
			return given, err
		}
	}
	found, err := config.GetCredentials(e.s.c.sys, e.host+"/"+e.repo)
	if err != nil {
		return auth.Credential{}, httpclient.Refuse("read credentials for %q: %v", e.host, err)
	}
	return auth.Credential{Username: found.Username, Password: found.Password, RefreshToken: found.IdentityToken}, nil
}

// ownsCreds tells whether a registry gets the credentials that the caller gave. Where
// the caller does not say whose they are, they belong to the first registry that asks
// for any; a second one is an error, since a password is for one.
func (c *Client) ownsCreds(host string) (bool, error) {
	if c.o.CredsHost != "" {
		return c.o.CredsHost == host, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.credsHost == "" {
		c.credsHost = host
	}
	if c.credsHost != host {
		return false, &twoHostsError{httpclient.Refuse("credentials were given for one registry, and both %q and %q ask for some", c.credsHost, host)}
	}
	return true, nil
}

// twoHostsError is a refusal that knows the way out.
type twoHostsError struct{ error }

// Unwrap gives the refusal.
func (e *twoHostsError) Unwrap() error { return e.error }

// Hint names the other place for credentials.
func (e *twoHostsError) Hint() string {
	return "put the credentials of each registry into a file (podman login, --authfile)"
}

// given is what the caller says, instead of the files.
func (o Options) given() auth.Credential {
	user, password, both := strings.Cut(cmp.Or(o.Creds, o.PullSecret), ":")
	if !both && o.PullSecret != "" {
		return auth.Credential{Password: o.PullSecret}
	}
	return auth.Credential{Username: user, Password: password}
}

// fetchToken asks a token server: with GET as the token specification of
// distribution says, or by OAuth2 when there is an identity token.
func (e *endpoint) fetchToken(ctx context.Context, realm *url.URL, service, scope string, cred auth.Credential) (string, error) {
	req, err := tokenRequest(ctx, realm, service, scope, cred)
	if err != nil {
		return "", err
	}
	resp, err := e.s.c.http.Do(req, httpclient.Rules{Count: &e.s.count, Insecure: e.insecure, Secret: true})
	if err != nil {
		return "", fmt.Errorf("get a token from %q: %w", realm.Host, err)
	}
	defer drain(resp)
	switch {
	case resp.StatusCode == http.StatusOK:
	case resp.StatusCode/100 == 4 && !passing(resp.StatusCode):
		return "", &AuthError{Host: e.host, Repository: e.repo, Err: statusError(resp)}
	default:
		return "", fmt.Errorf("get a token: %w", statusError(resp))
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxToken))
	if err != nil {
		return "", fmt.Errorf("get a token from %q: %w", realm.Host, err)
	}
	var answer struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
	}
	if err := spec.UnmarshalStrict(b, &answer); err != nil {
		return "", httpclient.Refuse("token server %q sent an answer that is not one: %v", realm.Host, err)
	}
	if answer.Token == "" {
		answer.Token = answer.AccessToken
	}
	if answer.Token == "" || strings.ContainsFunc(answer.Token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "", httpclient.Refuse("token server %q sent no usable token", realm.Host)
	}
	return answer.Token, nil
}

func tokenRequest(ctx context.Context, realm *url.URL, service, scope string, cred auth.Credential) (*http.Request, error) {
	var req *http.Request
	var err error
	if cred.RefreshToken != "" {
		form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {cred.RefreshToken}, "service": {service}, "scope": {scope}, "client_id": {"nbpack"}}
		req, err = http.NewRequestWithContext(ctx, http.MethodPost, realm.String(), strings.NewReader(form.Encode()))
		if err == nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
	} else {
		u := *realm
		q := u.Query()
		q.Set("service", service)
		for _, one := range strings.Fields(scope) {
			q.Add("scope", one)
		}
		u.RawQuery = q.Encode()
		req, err = http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
		if err == nil && (cred.Username != "" || cred.Password != "") {
			req.SetBasicAuth(cred.Username, cred.Password)
		}
	}
	return req, errors.Join(err)
}
