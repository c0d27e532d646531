package trust

import (
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
)

// The forms of signatures.
const (
	FormBundle = "bundle" // a sigstore bundle, a referrer
	FormSimple = "simple" // simple signing, under a .sig tag
)

// Evidence says why an image was accepted.
type Evidence struct {
	// Digest is what is signed.
	Digest digest.Digest `json:"digest"`
	// Policy is the ID of the policy that was met.
	Policy string `json:"policy"`
	// Signers are the keys and identities that signed, each once.
	Signers []Signer `json:"signers"`
}

// Signer is one good signature.
type Signer struct {
	Key         string            `json:"key,omitempty"`      // ID of the key
	Identity    string            `json:"identity,omitempty"` // of the certificate
	Issuer      string            `json:"issuer,omitempty"`   // who vouched for the identity
	Form        string            `json:"form"`
	Attachment  digest.Digest     `json:"attachment"`           // the manifest that holds the signature
	Repository  string            `json:"repository,omitempty"` // that the signature names
	Annotations map[string]string `json:"annotations,omitempty"`
}

// id tells signers from each other, for thresholds.
func (s *Signer) id() string {
	if s.Key != "" {
		return s.Key
	}
	return "identity\x00" + s.Identity + "\x00" + s.Issuer
}

// UnverifiedError says that an image does not have the signatures that a policy
// demands.
type UnverifiedError struct {
	Digest    digest.Digest
	Good      int      // different signers whose signatures count
	Threshold int      // how many of them are demanded
	Seen      int      // signatures that were looked at
	More      int      // signatures beyond those that are looked at
	Problems  []string // why signatures do not count, each reason once

	elsewhere bool // there is a good one for another repository
}

// maxProblems is how many reasons an error tells.
const maxProblems = 4

// Error tells what is missing and why what is there does not count.
func (e *UnverifiedError) Error() string {
	var b strings.Builder
	switch {
	case e.Seen == 0 && e.More == 0 && e.Good == 0:
		fmt.Fprintf(&b, "%s is not signed", e.Digest)
	case e.Threshold > 1:
		fmt.Fprintf(&b, "%s is signed by %d of the %d signers that are demanded", e.Digest, e.Good, e.Threshold)
	default:
		fmt.Fprintf(&b, "%s has no signature that counts", e.Digest)
	}
	for i, p := range e.Problems {
		if i == maxProblems {
			fmt.Fprintf(&b, "; and %d more", len(e.Problems)-i)
			break
		}
		b.WriteString("; " + p)
	}
	if e.More > 0 {
		fmt.Fprintf(&b, "; %d more signatures were not looked at", e.More)
	}
	return b.String()
}

// ExitCode is 3: content refused.
func (e *UnverifiedError) ExitCode() int { return 3 }

// Hint says what an admin may look into.
func (e *UnverifiedError) Hint() string {
	switch {
	case e.elsewhere:
		return "if this is an intended copy, permit the name that it was signed under with --signed-as"
	case e.More > 0:
		return "somebody has attached more signatures than anybody needs; remove them from the repository"
	case e.Seen == 0 && e.Good == 0:
		return "nbpack sign, or cosign sign, signs an image"
	}
	return "ask the publisher for the current public key; nobody should boot this before that is cleared up"
}

// note keeps a reason once.
func (e *UnverifiedError) note(problem string) {
	for _, p := range e.Problems {
		if p == problem {
			return
		}
	}
	if len(e.Problems) < MaxAttachments {
		e.Problems = append(e.Problems, problem)
	}
}
