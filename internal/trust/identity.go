package trust

import "fmt"

// Identity is whose certificate counts, as sigstore's certificate authority
// writes it down: who somebody is, and who vouched for that.
type Identity struct {
	// Subject is an email address or a URI, for example that of a CI workflow.
	Subject string
	// Issuer is the URL of the OpenID Connect provider.
	Issuer string
}

// String gives both, for messages.
func (i Identity) String() string { return fmt.Sprintf("%q by %q", i.Subject, i.Issuer) }

// checkIdentities refuses those that would match anybody.
func (p *Policy) checkIdentities() error {
	for _, i := range p.Identities {
		if i.Subject == "" || i.Issuer == "" {
			return badPolicy("an identity needs a subject and an issuer")
		}
	}
	return nil
}
