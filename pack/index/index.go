package index

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Repository is where the index is; *transport.Repository is one.
type Repository interface {
	// Tags lists the tags; none where the repository does not exist yet.
	Tags(ctx context.Context) ([]string, error)
	// Get gives a manifest by tag or digest. The error is a
	// *transport.NotFoundError only if it certainly is not there.
	Get(ctx context.Context, name string) (ocispec.Descriptor, []byte, error)
	// Put stores a manifest, under a tag unless that is empty.
	Put(ctx context.Context, tag, mediaType string, body []byte, o transport.PutOptions) (ocispec.Descriptor, error)
	// Blob opens a blob, verified while it is read.
	Blob(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error)
	// Copy brings a manifest with all that is below it into the repository.
	Copy(ctx context.Context, src transport.Source, d ocispec.Descriptor) error
	// Lock keeps others out, where that is possible.
	Lock(ctx context.Context) (unlock func(), err error)
}

// Options say how an index is changed. The zero value is good.
type Options struct {
	// Wrap lets a tag that names a single image become an index, with that
	// image as its first entry.
	Wrap bool
	// DryRun computes what would be done and writes nothing.
	DryRun bool
	// Sleep waits between rounds; tests replace it. nil: a real wait that ends
	// with the context.
	Sleep func(ctx context.Context, d time.Duration) error
	// Log takes remarks for the user. May be nil.
	Log func(format string, a ...any)
}

func (o *Options) log(format string, a ...any) {
	if o.Log != nil {
		o.Log(format, a...)
	}
}

// sleep waits for d or until the context ends.
func (o *Options) sleep(ctx context.Context, d time.Duration) error {
	if o.Sleep != nil {
		return o.Sleep(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

const (
	// maxLooks is how often the index is read before the run gives up. Between
	// two writes there are two looks. Eight writers at once need about as many
	// writes as there are writers.
	maxLooks  = 80
	firstWait = 50 * time.Millisecond
	maxWait   = 2 * time.Second
)

// backoff waits before another round, longer every time, and not as long as
// the other writers do.
func (o *Options) backoff(ctx context.Context, round int) error {
	wait := maxWait
	if round < 6 { // 2^6 times the first would be longer
		wait = min(firstWait<<round, maxWait)
	}
	return o.sleep(ctx, wait/4+rand.N(wait))
}

// Result tells what became of an index. It is the JSON that "nbpack index add"
// and "nbpack index remove" print.
type Result struct {
	Digest    digest.Digest `json:"digest"` // of the index
	MediaType string        `json:"mediaType"`
	Size      int64         `json:"size"`    // bytes of the index
	Changed   bool          `json:"changed"` // it was, or would be, written
	Changes   []Change      `json:"changes"`
}

// Change is one thing that was done to an index.
type Change struct {
	Action       Action        `json:"action"`
	Platform     string        `json:"platform,omitempty"` // with os.version, as in linux(fedora-42)/amd64
	DiskType     string        `json:"disktype,omitempty"`
	ArtifactType string        `json:"artifactType,omitempty"`
	Digest       digest.Digest `json:"digest"`
	Was          digest.Digest `json:"was,omitempty"` // the digest that it replaces
	Tag          string        `json:"tag,omitempty"` // its child tag
}

// Action is what was done to an entry.
type Action string

// The actions. Only the first three are what a user asked for.
const (
	Added    Action = "added"
	Replaced Action = "replaced"
	Removed  Action = "removed"
	// Moved is an entry that now stands behind a container of its platform.
	Moved Action = "moved"
	// Restored is a foreign entry that another writer dropped meanwhile.
	Restored Action = "restored"
	// Wrapped is the image that the tag named before.
	Wrapped Action = "wrapped"
)

func changeOf(a Action, d ocispec.Descriptor) Change {
	return Change{
		Action: a, Platform: platformString(d.Platform), DiskType: d.Annotations[annotationDiskType],
		ArtifactType: d.ArtifactType, Digest: d.Digest,
	}
}

// usageError is an index, or a wish about it, that the user has to sort out.
type usageError struct{ msg, hint string }

func (e *usageError) Error() string { return e.msg }
func (e *usageError) ExitCode() int { return 2 }
func (e *usageError) Hint() string  { return e.hint }

func badUse(hint, format string, a ...any) error {
	return &usageError{fmt.Sprintf(format, a...), hint}
}

// missingError is an index, or an entry, that is not there.
type missingError struct{ msg string }

func (e *missingError) Error() string { return e.msg }
func (e *missingError) ExitCode() int { return 4 }

// noEntry says that an index lacks an entry, and lists what it has instead.
func noEntry(what string, have []ocispec.Descriptor) error {
	if len(have) == 0 {
		return &missingError{"the index has " + what + ": it is empty"}
	}
	return &missingError{"the index has " + what + "; it has " + list(have)}
}

// lostRaceError ends a run that was overtaken again and again.
type lostRaceError struct {
	tag    string
	writes int
	gone   bool
}

func (e *lostRaceError) Error() string {
	if e.gone {
		return fmt.Sprintf("lost the race for index %q: it was there, and now it is gone", e.tag)
	}
	return fmt.Sprintf("lost the race for index %q: others changed it after each of %d writes", e.tag, e.writes)
}

func (e *lostRaceError) Hint() string {
	return "run the command again when fewer others write this index; what goes into it is stored already"
}
