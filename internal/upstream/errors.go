package upstream

import (
	"fmt"

	"github.com/nbpack/nbpack/spec"
)

// The ids of refusals.
const (
	// RuleList is a list of checksums that cannot be read.
	RuleList = "checksums-format"
	// RuleSignature is a list, or a signature, that no key of the keyring vouches
	// for.
	RuleSignature = "checksums-signature"
)

// refuse says that a document is not to be relied on: exit code 3.
func refuse(rule, doc, hint, format string, a ...any) error {
	r := spec.Refuse(rule, doc, format, a...)
	r.Advice = hint
	return r
}

// usageError is a set of documents that makes no sense: exit code 2.
type usageError struct{ msg, hint string }

func (e *usageError) Error() string { return e.msg }
func (e *usageError) ExitCode() int { return 2 }
func (e *usageError) Hint() string  { return e.hint }

func usage(hint, format string, a ...any) error {
	return &usageError{msg: fmt.Sprintf(format, a...), hint: hint}
}
