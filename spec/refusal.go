package spec

import (
	"errors"
	"fmt"
)

// Refusal says that content (a document, a name, a layer) breaks a rule of the
// format and was not used. It is the only error type for bad content.
type Refusal struct {
	Rule   string // id from the table of rules, see Rules
	Path   string // the file or label concerned; empty when it is the whole document
	Reason string // what is wrong, in one line; text from outside already quoted
	Advice string // what the user can do about it; may be empty

	err error // cause given to Refuse with %w, if any
}

// Refuse makes a Refusal. The format takes the verbs of fmt.Errorf, %w too;
// text that comes from outside belongs into %q. The advice is the one that the
// table of rules gives for the rule.
func Refuse(rule, path, format string, args ...any) *Refusal {
	err := fmt.Errorf(format, args...)
	r := &Refusal{Rule: rule, Path: path, Reason: err.Error(), err: err}
	if known, ok := LookupRule(rule); ok {
		r.Advice = known.Advice
	}
	return r
}

// Error gives the quoted path, the reason and the rule id in one line.
func (r *Refusal) Error() string {
	if r.Rule == "" {
		return r.text()
	}
	return r.text() + " [" + r.Rule + "]"
}

func (r *Refusal) text() string {
	if r.Path == "" {
		return r.Reason
	}
	return fmt.Sprintf("%q: %s", r.Path, r.Reason)
}

// why gives the text of a refusal without its rule, for use within another one.
func why(err error) string {
	var r *Refusal
	if errors.As(err, &r) {
		return r.text()
	}
	return err.Error()
}

// Unwrap gives the cause that Refuse was told with %w.
func (r *Refusal) Unwrap() error { return r.err }

// ExitCode is the exit code of both commands for refused content.
func (r *Refusal) ExitCode() int { return 3 }

// Hint gives the advice for the user.
func (r *Refusal) Hint() string { return r.Advice }
