package transport

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/transport/blobmirror"
)

// Options configure a [Client]. The zero value is a client as an ordinary
// user of the containers tools would have it.
type Options struct {
	// AuthFile is a credential file to use instead of the usual ones. Empty:
	// REGISTRY_AUTH_FILE, then the files of podman and docker.
	AuthFile string
	// Creds is "user[:password]" for the registry that a reference names. It
	// is not sent to mirrors.
	Creds string
	// CredsHost, "host[:port]", is the only registry that gets Creds. Empty: the
	// first that asks; that another one asks, too, is an error then.
	CredsHost string
	// PullSecret is used like Creds: "user:password", or a bare token, which
	// is the password of an empty user name and only good for token servers.
	// Not both.
	PullSecret string
	// CertDir is a directory with CA certificates (*.crt) and client
	// certificates (*.cert, *.key) for every registry.
	CertDir string
	// TLSVerify false allows certificates that do not verify and, after https
	// was tried, plain http. True overrules an "insecure" in registries.conf;
	// nil leaves it to that file.
	TLSVerify *bool
	// UserAgent is sent with every request.
	UserAgent string
	// RegistriesConf is a registries.conf to use instead of the system's.
	RegistriesConf string
	// Mirrors are places that have the content of a registry too, by the
	// "HOST[/PATH]" that references begin with, of which the longest counts. They
	// are asked first, before those of registries.conf, and never written to.
	// Each needs credentials of its own. What is written as a URL has blobs only, as
	// those of BlobMirrors, and nothing is appended to its path.
	Mirrors map[string][]string
	// BlobMirrors are URLs (see [blobmirror.Parse]) of places that may have blobs of any
	// registry. They are asked before all others, in this order or, with
	// NearestMirror, the one that answers fastest first. Tags and manifests are never
	// taken from there, and no credentials are sent.
	BlobMirrors   []string
	NearestMirror bool
	// MirrorHealth is what is known of mirrors, to be shared by clients or kept for
	// later runs. nil: what this client finds out.
	MirrorHealth *blobmirror.Health
	// URLHosts are the hosts ("host", or "host:port" for another than the usual port)
	// from which the `urls` of a layer are read, where the registry does not have it.
	URLHosts []string
	// AllowPrivateHosts lets such URLs, and redirects of mirrors, lead to addresses
	// that are not public. Mirrors themselves may always have them.
	AllowPrivateHosts bool
	// Warn takes messages about mirrors that gave wrong content. May be nil.
	Warn func(format string, a ...any)
	// Progress hears of bytes that go over the network. May be nil.
	Progress Progress
	// Log takes messages for a curious user: retries, fallbacks. May be nil.
	Log func(format string, a ...any)
	// TempDir holds stages of images on their way to a registry, and copies of
	// layers from container storage. Empty: $TMPDIR, or /var/tmp, because both can
	// be large.
	TempDir string
	// PreferHTTP says that a registry ("host[:port]") spoke plain http last
	// time, so that http is tried first. It is only asked where plain http is
	// allowed. May be nil.
	PreferHTTP func(host string) bool
	// StallTimeout is how long a registry may send nothing, or less than 64 KiB,
	// before the connection counts as broken. 0: 60 seconds.
	StallTimeout time.Duration
	// Sleep waits between attempts; tests replace it. nil: a real wait that
	// ends early, with the context's error, when the context does.
	Sleep func(ctx context.Context, d time.Duration) error
	// From is a bundle that has all images of registries: they are read from it,
	// and no network is used at all. The caller closes it, after the client. May
	// be nil.
	From *Bundle
}

// Progress is told how far the transfer of one thing has come, in bytes.
// total is -1 when unknown. It is called from any goroutine.
type Progress func(name string, done, total int64)

// Usage counts what a [Source] asked of the network.
type Usage struct {
	// Requests counts HTTP requests sent, those for tokens and redirects too.
	Requests int
	// Bytes counts bytes of response bodies received.
	Bytes int64
}

// Source reads one image repository: a repository in a registry, a layout, an
// archive or a directory. Its methods may be called from many goroutines.
type Source interface {
	// Resolve says what the reference names now: media type, digest and size
	// (-1 when the registry does not tell). A registry is asked with one HEAD.
	Resolve(ctx context.Context) (ocispec.Descriptor, error)
	// Manifest returns the bytes and the media type of a manifest or index,
	// always looked up by digest. Its digest, its size (unless d.Size is -1)
	// and all media types that are given agree, and it is at most
	// spec.MaxManifestSize long; otherwise the error is a *spec.Refusal.
	Manifest(ctx context.Context, d ocispec.Descriptor) ([]byte, string, error)
	// Blob opens a blob as a stream that never gives more than d.Size bytes,
	// and that ends with a *spec.Refusal instead of io.EOF unless it had
	// exactly that size and the digest. Connections that break are resumed.
	Blob(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error)
	// Usage gives the requests and bytes of this Source so far.
	Usage() Usage
	// Scheme is "https" or "http", as the registry was last spoken to (empty
	// before that), and always "" for local sources.
	Scheme() string
	// Close releases what the Source holds. Open blob streams end.
	Close() error
}

// NotFoundError says that an image, a tag or a blob is not there.
type NotFoundError struct {
	// Ref is the reference that was looked up.
	Ref string
	// What is missing, for example `tag "v2"`.
	What string
	// Have lists what is there instead, when that is known.
	Have []string

	advice string
}

// Error names the missing thing, and what is there instead.
func (e *NotFoundError) Error() string {
	msg := fmt.Sprintf("%s not found in %q", e.What, e.Ref)
	if len(e.Have) > 0 {
		msg += fmt.Sprintf("; it has %s", quoteList(e.Have))
	}
	return msg
}

// ExitCode is 4: not found.
func (e *NotFoundError) ExitCode() int { return 4 }

// Hint says how to find out what is there, where the error does not.
func (e *NotFoundError) Hint() string {
	if strings.HasPrefix(e.What, "tag ") && len(e.Have) == 0 {
		return "nbextract list REPOSITORY shows the tags"
	}
	return e.advice
}

// quoteList quotes names for a message and stops after a dozen.
func quoteList(names []string) string {
	const most = 12
	s := ""
	for i, n := range names {
		if i == most {
			return s + fmt.Sprintf(" and %d more", len(names)-most)
		}
		if i > 0 {
			s += ", "
		}
		s += fmt.Sprintf("%q", n)
	}
	return s
}

// short is a digest for progress lines and log messages.
func short(d digest.Digest) string {
	s := d.String()
	if len(s) > 19 {
		return s[:19]
	}
	return s
}
