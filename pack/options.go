package pack

import (
	"fmt"
	"io/fs"
	"time"

	"github.com/nbpack/nbpack/internal/archive"
	"github.com/nbpack/nbpack/internal/source"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// Options say what to pack and how. Paths are paths in the payload, with
// slashes, unless something else is said.
type Options struct {
	// Format of what is made of the sources; empty means FormatImage.
	Format Format
	// Sources are what source.Open understands: directories, archives, packages,
	// images, what web servers have, whose contents are merged at the top of the
	// payload, and files, which land there under their base names. A file that
	// two sources have with different contents is refused.
	Sources []string
	// Platform the boot files are for. The zero value: what the sources say.
	Platform spec.Platform
	// OSName and OSVersion become labels. Empty: what the sources say, if they
	// do.
	OSName, OSVersion string

	// Entrypoint, AltEntrypoint and LegacyEntrypoint name the files that
	// firmware starts, after renaming. Where empty, they are found by their
	// usual names.
	Entrypoint, AltEntrypoint, LegacyEntrypoint string

	// Include and Exclude are globs over the names that the sources give, see
	// Filter. Exclude wins.
	Include, Exclude []string
	// Rename maps names that the sources give to names in the payload. A
	// directory takes along what is below it.
	Rename map[string]string
	// Flatten puts every file at the top, under its base name after renaming.
	Flatten bool

	// IndexTag is the tag of the index that what is built belongs to. It is then
	// published under a tag of its own, see spec.ChildTag, and its annotations
	// say where it belongs. Empty: it is published under the tag of the
	// destination.
	IndexTag string

	// PerFileLayers gives each file a layer of its own, links last. Only for
	// images.
	PerFileLayers bool
	// Compression of the layers; empty means zstd:chunked for images. The
	// files of artifacts are always stored as they are.
	Compression archive.Compression
	// DiskType says what single files are: spec.DiskTypeQcow2, …Raw, …Kernel or
	// …Ramdisk. Empty: it is found by content and name. Only for FormatFile.
	DiskType string
	// Labels of the config, which only images have, and Annotations of the
	// manifest besides those of the format, which they may not touch.
	Labels, Annotations map[string]string
	// ModTime is the time of every entry and of the image, by custom from
	// SOURCE_DATE_EPOCH. Nil: entries are of 1970 and the image has no time.
	ModTime *time.Time
	// Checksums are files, or URLs, that the packed files are compared with while
	// they are packed, by the names that the sources give. They are not packed
	// themselves. A plain list on disk that nobody signed, as sha256sum writes it,
	// must list every packed file, and nothing that is missing. Of what a publisher
	// says (see package upstream), and of lists from web servers, what applies
	// must be right: to files, and to sources that are files as a whole.
	Checksums []string
	// Keyrings are files with OpenPGP keys. With them all Checksums have to be
	// rooted in a signature by one of the keys.
	Keyrings []string
	// RequireVerified refuses files that no publisher's checksum is known of.
	RequireVerified bool
	// VersionFile says whether the payload gets a file VERSION that tells where
	// the files come from and who vouches for them. Nil: if anybody does.
	VersionFile *bool
	// Pins are the SHA-256, in hex, that source files must have, by their names in
	// Sources. URLs and images have pins in their names.
	Pins map[string]string

	// Client opens sources that are images. Nil: they are refused.
	Client *transport.Client
	// PlainHTTP allows sources on web servers without TLS, and certificates
	// that nobody vouches for.
	PlainHTTP bool
	// TempDir holds what has to be kept of sources that can be read only once.
	// Empty: TMPDIR, or /var/tmp, because that can be large.
	TempDir string

	// Describe finds out what Attach needs beside what packing needs.
	Describe bool

	// Lint says whether the files are looked at for what keeps them from booting.
	// Empty: LintOff.
	Lint LintMode

	// Log takes remarks for the user. May be nil.
	Log func(format string, a ...any)
	// Progress hears how many bytes of the sources were read. May be nil.
	Progress transport.Progress

	recipe *inputFile // where these come from; nil: nowhere
	again  *again     // this repeats another build; nil: it does not
}

// again is what a build needs to know that repeats another one.
type again struct {
	// found says where sources, checksums and keyrings are that have these names.
	found map[string]string
	// skip are copies of checksums that are not packed.
	skip []fs.FileInfo
}

// at says where a source or a document is. The names of another build mean
// nothing here by themselves.
func (o *Options) at(name string) string {
	if o.again != nil {
		return o.again.found[name]
	}
	return name
}

func (o *Options) log(format string, a ...any) {
	if o.Log != nil {
		o.Log(format, a...)
	}
}

// optionError is an option that makes no sense: exit code 2.
type optionError struct{ msg, hint string }

func (e *optionError) Error() string { return e.msg }
func (e *optionError) ExitCode() int { return 2 }
func (e *optionError) Hint() string  { return e.hint }

func badOption(hint, format string, a ...any) error {
	return &optionError{msg: fmt.Sprintf(format, a...), hint: hint}
}

// refuse says that the sources hold something that cannot go into an image.
func refuse(rule, path, hint, format string, a ...any) error {
	r := spec.Refuse(rule, path, format, a...)
	r.Advice = hint
	return r
}

// The ids of refusals that concern sources and not images. Those of package spec
// are used where an image with the same fault would be refused for it.
const (
	ruleSourceType  = source.RuleType
	ruleSourceClash = source.RuleClash
	ruleSourceLink  = "source-link"
	ruleSourceName  = source.RuleName
	ruleSourceSum   = "source-checksum"
	ruleSourceEmpty = "source-empty"
	ruleEntrypoint  = "source-entrypoint"
	rulePlatform    = "source-platform"
)

const hintExclude = source.HintExclude
