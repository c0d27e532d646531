package trust

import (
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
)

// SystemPolicy is the name of the policy.json that podman would use.
const SystemPolicy = "system"

// PolicyRejection says that a policy.json does not permit an image.
type PolicyRejection struct {
	Digest digest.Digest
	Err    error
}

// Error gives the reason.
func (e *PolicyRejection) Error() string {
	return fmt.Sprintf("policy.json does not permit %s: %v", e.Digest, e.Err)
}

// Unwrap gives the cause.
func (e *PolicyRejection) Unwrap() error { return e.Err }

// ExitCode is 3: content refused.
func (e *PolicyRejection) ExitCode() int { return 3 }

// Hint helps with the commonest reason, which has three causes.
func (e *PolicyRejection) Hint() string {
	if strings.Contains(e.Err.Error(), "no signature exists") {
		return "policy.json knows .sig tags only (nbpack sign --legacy-attachments), and looks for them where registries.d says use-sigstore-attachments: true"
	}
	return ""
}

// noPolicyError is what builds without policy.json answer.
type noPolicyError struct{}

func (noPolicyError) Error() string { return "this binary was built without policy.json" }

// Hint names two ways around it.
func (noPolicyError) Hint() string {
	return "build it with CGO_ENABLED=0 and the tag containers_image_openpgp, or verify with --key"
}

var errNoPolicy error = noPolicyError{}
