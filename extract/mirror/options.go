package mirror

import (
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/spec"
)

// Defaults of Options.
const (
	DefaultJobs  = 4
	DefaultGrace = bootdir.DefaultGrace
	DefaultShare = 50
)

// Attachments says when to ask for what belongs to a manifest: its referrers, and
// what lies under cosign's tags.
type Attachments string

// The values of Options.Attachments.
const (
	// AttachmentsNew asks when a manifest comes into a repository; then a
	// reference that did not move costs one request.
	AttachmentsNew    Attachments = "new"
	AttachmentsAlways Attachments = "always"
	AttachmentsNever  Attachments = "never"
)

// Options say what a mirror holds. The zero value of every field but Dir is a
// usable default.
type Options struct {
	// Dir is the top of the tree; it is created when missing.
	Dir string
	// Platforms are platform names as spec.ParsePlatform takes them. Only these
	// entries of indexes are brought; the indexes stay as they are. Empty: all.
	Platforms []string
	// Repository is where all images go, instead of repositories of their own names.
	Repository string
	// Attachments is AttachmentsNew where it is empty.
	Attachments Attachments
	// BootTrees lays out the boot trees of images below boot/, too.
	BootTrees bool
	// Checksum reads again what is there, instead of judging it by its size.
	Checksum bool
	// Prune removes what no reference of this run names.
	Prune bool
	// Grace is how long that stays; 0 means DefaultGrace, less than 0 no time.
	Grace time.Duration
	// Share is how many percent of the tags may go in one run; 0 means DefaultShare.
	Share int
	// Force removes more than that.
	Force bool
	// Jobs is how many images are looked after at once; 0 means DefaultJobs.
	Jobs int
	// DryRun reports what would be done and changes nothing.
	DryRun bool

	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log takes lines about what is done, Warn those about what went wrong; nil
	// drops them.
	Log, Warn func(format string, args ...any)
}

// complete fills in defaults and reads the platforms.
func (o *Options) complete() ([]spec.Platform, error) {
	drop := func(string, ...any) {}
	if o.Log == nil {
		o.Log = drop
	}
	if o.Warn == nil {
		o.Warn = drop
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Jobs <= 0 {
		o.Jobs = DefaultJobs
	}
	if o.Share == 0 {
		o.Share = DefaultShare
	}
	switch {
	case o.Grace == 0:
		o.Grace = DefaultGrace
	case o.Grace < 0:
		o.Grace = 0
	}
	if o.Attachments == "" {
		o.Attachments = AttachmentsNew
	}
	var wanted []spec.Platform
	for _, name := range o.Platforms {
		p, err := spec.ParsePlatform(name)
		if err != nil {
			return nil, &usageError{msg: fmt.Sprintf("--platform %q: %v", name, err)}
		}
		wanted = append(wanted, p)
	}
	return wanted, nil
}

// Report is what a run did, or in a dry run would do. Its JSON form is the output
// of "nbextract mirror --json".
type Report struct {
	DryRun    bool      `json:"dry_run,omitempty"`
	Images    []Image   `json:"images"` // in the order of the references
	Changed   int       `json:"changed"`
	Unchanged int       `json:"unchanged"`
	Failures  []Failure `json:"failures"`
	// Missing counts the bytes of blobs that were not there.
	Missing  int64      `json:"missing"`
	Requests int        `json:"requests"`
	Fetched  int64      `json:"fetched"` // bytes of response bodies
	Boot     []BootTree `json:"boot"`
	// Leaving are tags that are not named any more; Removed is what went.
	Leaving []Leaving `json:"leaving"`
	Removed Removed   `json:"removed"`
}

// Image is one reference that is in the mirror.
type Image struct {
	Reference  string        `json:"reference"`
	Repository string        `json:"repository"` // in the mirror
	Tag        string        `json:"tag,omitempty"`
	Digest     digest.Digest `json:"digest"`
	Changed    bool          `json:"changed"`
}

// Failure is one reference that is as it was before.
type Failure struct {
	Reference string `json:"reference"`
	Message   string `json:"error"`
	err       error
}

// BootTree is a directory of boot files.
type BootTree struct {
	Path    string        `json:"path"` // below the mirror
	Digest  digest.Digest `json:"digest"`
	Changed bool          `json:"changed"`
}

// Leaving is a tag that goes when its grace time is over.
type Leaving struct {
	Repository string    `json:"repository"`
	Tag        string    `json:"tag"`
	Since      time.Time `json:"since"`
}

// Removed counts what was removed, or in a dry run would be.
type Removed struct {
	Tags      []string `json:"tags"` // NAME:TAG
	Boot      []string `json:"boot"`
	Manifests int      `json:"manifests"`
	Blobs     int      `json:"blobs"`
	Bytes     int64    `json:"bytes"`
}
