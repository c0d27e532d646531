package trust

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Scope says which manifest of an index has to be signed.
type Scope string

// The scopes.
const (
	// ScopeTop wants what the reference names to be signed: an index stands for
	// its entries, because it names them by digest.
	ScopeTop Scope = ""
	// ScopeEntry wants a signature of the very manifest that is used.
	ScopeEntry Scope = "entry"
	// ScopeEither is content with one of them.
	ScopeEither Scope = "either"
)

// ParseScope reads a scope as users write it: top (or nothing), entry, either.
// The error is one of usage.
func ParseScope(s string) (Scope, error) {
	switch s {
	case "", "top":
		return ScopeTop, nil
	case string(ScopeEntry), string(ScopeEither):
		return Scope(s), nil
	}
	return "", badPolicy("%q is no scope of signatures: want top, entry or either", s)
}

// Policy is what an admin demands of signatures. The zero value permits nothing.
type Policy struct {
	// Keys are those whose signatures count. The same key twice counts once.
	Keys []*PublicKey
	// Identities are whose certificates count, for signatures without a key.
	// They need a Root.
	Identities []Identity
	// Root holds the certificate authorities and logs that Identities rest on.
	Root *Root
	// Threshold is how many different keys and identities must have signed. 0: 1.
	Threshold int
	// Annotations must be in a signature, with these values, for it to count.
	Annotations map[string]string
	// SignedAs are the repositories ("HOST/NAME") that a signature may name. Empty:
	// only the one that is read, and any where that is not in a registry. A
	// signature that names none, as cosign's bundles, passes; "*" permits all.
	SignedAs []string
	// Scope says what has to be signed.
	Scope Scope
	// Timeout bounds one Verify. 0: two minutes.
	Timeout time.Duration
}

// maxSigners bounds the keys and identities of a policy: every signature is
// tried with each.
const maxSigners = 64

// Check tells whether the policy can be met at all and demands something. The
// error is one of usage.
func (p *Policy) Check() error {
	signers := p.signers()
	switch {
	case p == nil || signers == 0:
		return badPolicy("a policy without a key or an identity would accept everything")
	case signers > maxSigners:
		return badPolicy("%d keys and identities, at most %d are possible", signers, maxSigners)
	case p.Threshold < 0 || p.Threshold > signers:
		return badPolicy("%d signatures of different signers are asked for, but only %d signers are given", p.Threshold, signers)
	case len(p.Identities) > 0 && p.Root == nil:
		return badPolicy("identities are nothing without a trusted root")
	case p.Scope != ScopeTop && p.Scope != ScopeEntry && p.Scope != ScopeEither:
		return badPolicy("%q is no scope", p.Scope)
	}
	for _, k := range p.Keys {
		if k == nil || len(k.verifiers) == 0 {
			return badPolicy("an empty key")
		}
	}
	return p.checkIdentities()
}

// signers counts the different keys and identities.
func (p *Policy) signers() int {
	if p == nil {
		return 0
	}
	identities := map[Identity]bool{}
	for _, i := range p.Identities {
		identities[i] = true
	}
	return len(p.keys()) + len(identities)
}

// keys gives each key once.
func (p *Policy) keys() []*PublicKey {
	var out []*PublicKey
	seen := map[string]bool{}
	for _, k := range p.Keys {
		if k != nil && !seen[k.ID()] {
			seen[k.ID()] = true
			out = append(out, k)
		}
	}
	return out
}

func (p *Policy) threshold() int { return max(p.Threshold, 1) }

// ID names the policy: two of the same ID demand the same. It goes into records,
// so that what was verified under another policy is verified again. Nothing
// secret is in it.
func (p *Policy) ID() string {
	var parts []string
	add := func(what string, values ...string) {
		for _, v := range values {
			parts = append(parts, fmt.Sprintf("%s %q", what, v))
		}
	}
	for _, k := range p.keys() {
		add("key", k.ID())
	}
	for _, i := range p.Identities {
		add("identity", i.String())
	}
	for k, v := range maps.All(p.Annotations) {
		add("annotation "+fmt.Sprintf("%q", k), v)
	}
	add("signed-as", p.SignedAs...)
	if p.Root != nil {
		add("root", p.Root.id)
	}
	slices.Sort(parts)
	parts = slices.Compact(parts)
	parts = append(parts, fmt.Sprintf("threshold %d scope %q", p.threshold(), p.Scope))
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// policyError is a policy that makes no sense.
type policyError struct{ err error }

func (e *policyError) Error() string { return "signature policy: " + e.err.Error() }
func (e *policyError) Unwrap() error { return e.err }
func (e *policyError) ExitCode() int { return 2 }

func badPolicy(format string, a ...any) error {
	return &policyError{fmt.Errorf(format, a...)}
}

// accepts compares what a verified signature says with what is demanded.
func (p *Policy) accepts(c *claim, repository string) error {
	for k, want := range p.Annotations {
		if have, ok := c.annotations[k]; !ok || have != want {
			return fmt.Errorf("it does not have the annotation %q with the value %q", k, want)
		}
	}
	return p.acceptsRepository(c.repository, repository)
}

func (p *Policy) acceptsRepository(says, repository string) error {
	if says == "" || slices.Contains(p.SignedAs, "*") {
		return nil
	}
	permitted := p.SignedAs
	if len(permitted) == 0 {
		if repository == "" {
			return nil // a local copy has no name of its own
		}
		permitted = []string{repository}
	}
	if slices.Contains(permitted, repositoryOf(says)) {
		return nil
	}
	return &elsewhereError{says: says}
}

// elsewhereError is a good signature of the image in another repository.
type elsewhereError struct{ says string }

func (e *elsewhereError) Error() string {
	return fmt.Sprintf("it was made for the repository %q", repositoryOf(e.says))
}

// repositoryOf takes tag and digest off an image name.
func repositoryOf(name string) string {
	name, _, _ = strings.Cut(name, "@")
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name = name[:i]
	}
	return name
}

// errNoKey is the commonest of all reasons.
var errNoKey = errors.New("none of the keys verifies it")
