package trust

import "errors"

// Root holds the certificate authorities and logs of a sigstore instance.
type Root struct {
	id string
}

// certified verifies a bundle by its certificate.
func (p *Policy) certified(_ []byte, _ *Signer) error {
	return errors.New("it was made without a key, and no identity is trusted")
}
