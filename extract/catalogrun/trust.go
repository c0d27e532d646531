package catalogrun

import (
	"go.podman.io/image/v5/types"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/internal/catalog"
	"github.com/nbpack/nbpack/internal/config"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/internal/trust"
)

// entryTrust is what an entry of a catalogue demands: its own keys and policy,
// and for what it does not name what the run demands.
func entryTrust(e *catalog.Entry, o Options) (*extract.Trust, error) {
	t := &extract.Trust{}
	if o.Trust != nil {
		*t = *o.Trust
	}
	if len(e.Key) > 0 {
		var err error
		if t.Signatures, err = keyPolicy(e); err != nil {
			return nil, err
		}
	}
	if e.SignaturePolicy != "" {
		var err error
		if t.Containers, err = trust.OpenContainersPolicy(e.SignaturePolicy); err != nil {
			return nil, err
		}
	}
	if t.Containers != nil {
		t.System = func(ref transport.Reference) (*types.SystemContext, error) {
			c, err := o.Client(e.TLSVerify)
			if err != nil {
				return nil, err
			}
			return c.SystemContext(ref)
		}
	}
	if t.Signatures == nil && t.Containers == nil {
		return nil, nil
	}
	return t, nil
}

// keyPolicy reads the keys of an entry.
func keyPolicy(e *catalog.Entry) (*trust.Policy, error) {
	p := &trust.Policy{}
	for _, file := range e.Key {
		key, err := trust.ReadPublicKey(file)
		if err != nil {
			return nil, err
		}
		p.Keys = append(p.Keys, key)
	}
	if s := e.Signatures; s != nil {
		p.Annotations, p.SignedAs = s.Annotations, s.SignedAs
		if s.Threshold != nil {
			p.Threshold = *s.Threshold
		}
		var err error
		if p.Scope, err = trust.ParseScope(s.Scope); err != nil {
			return nil, err
		}
	}
	return p, p.Check()
}

// checkTrust tells, with its line, what of an entry's demands cannot be met.
func checkTrust(e *catalog.Entry, o Options) *config.Error {
	if e.Signatures != nil && len(e.Key) == 0 {
		return e.At("signatures").Errorf("it says how keys must have signed, but there is no key")
	}
	if _, err := entryTrust(e, o); err != nil {
		at := e.At("key")
		if len(e.Key) == 0 {
			at = e.At("signature-policy")
		}
		return at.Errorf("%v", err)
	}
	return nil
}
