package source

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/nbpack/nbpack/internal/archive"
	"github.com/nbpack/nbpack/spec"
)

// The ids of refusals that concern sources and not images.
const (
	// RuleType is a source, or a thing in it, of a type that nothing is made of.
	RuleType = "source-type"
	// RuleClash is a name that two sources, or one twice, have.
	RuleClash = "source-clash"
	// RuleName is a name that a boot tree cannot have.
	RuleName = "source-name"
	// RuleFormat is an archive that cannot be read.
	RuleFormat = "source-format"
	// RuleDigest is a source that has not the digest it was named with.
	RuleDigest = "source-digest"
)

// HintExclude is what most refusals of a name advise.
const HintExclude = "leave it out with --exclude, or give it another name with --rename"

// refuse says that the sources hold something that cannot go into an image.
func refuse(rule, path, hint, format string, a ...any) error {
	r := spec.Refuse(rule, path, format, a...)
	r.Advice = hint
	return r
}

// badArchive says that an archive is not what it seems.
func badArchive(name, format string, a ...any) error {
	return refuse(RuleFormat, name, "fetch it again; to pack it as it is, write file: in front of it", format, a...)
}

// usageError is a source that was named in a way that makes no sense: exit code 2.
type usageError struct{ msg, hint string }

func (e *usageError) Error() string { return e.msg }
func (e *usageError) ExitCode() int { return 2 }
func (e *usageError) Hint() string  { return e.hint }

func usage(hint, format string, a ...any) error {
	return &usageError{msg: fmt.Sprintf(format, a...), hint: hint}
}

// missingError is a source that does not exist: exit code 4.
type missingError struct{ err error }

func (e *missingError) Error() string { return e.err.Error() }
func (e *missingError) Unwrap() error { return e.err }
func (e *missingError) ExitCode() int { return 4 }

// Changed is the error for a source that did not hold still.
func Changed(name string) error {
	return &changedError{fmt.Errorf("%q: %w", name, archive.ErrSourceChanged)}
}

// nowRefused makes a change of what was in order when it was opened: a source
// that is missing or of another kind now. Other errors stay as they are.
func nowRefused(err error) error {
	var refusal interface{ ExitCode() int }
	if !errors.As(err, &refusal) {
		return err
	}
	return &changedError{fmt.Errorf("%w: %v", archive.ErrSourceChanged, err)}
}

type changedError struct{ err error }

func (e *changedError) Error() string { return e.err.Error() }
func (e *changedError) Unwrap() error { return e.err }
func (e *changedError) Hint() string {
	return "run again when nothing writes to the sources; nothing was published"
}

// typeName names a type of file for a message.
func typeName(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeNamedPipe != 0:
		return "named pipe"
	case mode&fs.ModeSocket != 0:
		return "socket"
	case mode&fs.ModeDevice != 0:
		return "device"
	case mode&fs.ModeSymlink != 0:
		return "link"
	case mode.IsDir():
		return "directory"
	}
	return "special file"
}

// noEOF replaces the end of a stream where more was expected.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
