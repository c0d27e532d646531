package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/nbpack/nbpack/spec"
)

// maxHeld is how long a blob may be, in bytes, to be held and judged as a whole
// where mirrors have a part in it, before anybody sees its first byte.
const maxHeld = 1 << 20

// MirrorError says that the wrong content of a blob may be the fault of mirrors.
// These are not asked again, so that the same blob asked for once more comes from
// elsewhere. It is the *[spec.Refusal] in it, too.
type MirrorError struct {
	Mirrors []string // their URLs, or where a registry led to
	Err     error
}

// Error names the mirrors.
func (e *MirrorError) Error() string {
	return e.Err.Error() + ", from " + quoteList(e.Mirrors)
}

// Unwrap gives the refusal.
func (e *MirrorError) Unwrap() error { return e.Err }

// MirrorLied tells whether the same thing done once more has other content, because
// the mirror that gave it is not asked again.
func MirrorLied(err error) bool { return errors.As(err, new(*MirrorError)) }

// Blame tells whether the refusal err, of somebody who reads a blob that
// [Source.Blob] or [Resume] gave, is due to a mirror: what is left of the blob is
// read, and where it is not what was asked for a *[MirrorError] takes the place of
// err. Any other error stays as it is, and so does one of a blob that comes from the
// registry alone.
func Blame(blob io.Reader, err error) error {
	m, ok := blob.(*mirrored)
	var refusal *spec.Refusal
	if !ok || !errors.As(err, &refusal) || MirrorLied(err) || !m.suspect() {
		return err
	}
	var wrong *MirrorError
	if _, end := io.Copy(io.Discard, m); errors.As(end, &wrong) {
		return wrong
	}
	return err
}

// mirrored is a verified stream that knows whom to blame.
type mirrored struct {
	*verifyReader
	b *blobStream
}

// suspect tells whether all of the stream came over the network in this run, and
// some of it from a mirror.
func (m *mirrored) suspect() bool { return len(m.b.used) > 0 && !m.b.resumed }

// Read implements io.Reader.
func (m *mirrored) Read(p []byte) (int, error) {
	n, err := m.verifyReader.Read(p)
	var refusal *spec.Refusal
	if err != nil && err != io.EOF && m.suspect() && errors.As(err, &refusal) && !MirrorLied(err) {
		m.err = m.b.r.s.c.blame(m.b.d.Digest, m.b.used, err)
		return n, m.err
	}
	return n, err
}

// blame accuses the mirror that wrong content came from. Of several nobody knows
// which it was, so all of them are kept from this blob only.
func (c *Client) blame(d digest.Digest, mirrors []string, err error) error {
	switch {
	case len(mirrors) == 1 && !strings.HasPrefix(mirrors[0], ledTo):
		c.accuse(mirrors[0], err.Error())
	case c.o.Warn != nil:
		c.o.Warn("%s gave wrong content: %v", quoteList(mirrors), err)
	}
	for _, name := range mirrors {
		c.health.Suspect(name, d, -1) // no part convicts it
	}
	return &MirrorError{Mirrors: slices.Clone(mirrors), Err: err}
}

// accuse reports a mirror that gave something else than what was asked for. It is
// not asked for blobs again.
func (c *Client) accuse(mirror, what string) {
	if c.health.Wrong(mirror) && c.o.Warn != nil {
		c.o.Warn("mirror %q gave wrong content and is not asked again: %s", mirror, what)
	}
}

// ledTo begins the names of places that a registry leads to.
const ledTo = "redirect to "

// maxLed is how many of these are doubted for one blob.
const maxLed = 4

// use notes who gives bytes: a mirror, or a place that the registry leads to, such as
// a mirror that it chose. The registry itself is believed to give what it has.
func (c *Client) use(used []string, e *endpoint, d digest.Digest, resp *http.Response) []string {
	name := e.mirror
	if at := resp.Request.URL; name == "" && at.Host != e.address() && e.fixed == nil {
		name = ledTo + at.Scheme + "://" + at.Host
		if c.health.Suspects(d) >= maxLed || c.health.Lied(name, d) {
			return used // nothing is won by asking again
		}
	}
	if name == "" || slices.Contains(used, name) {
		return used
	}
	return append(used, name)
}

// doubt asks for a blob from the registry itself where what it led to was wrong.
func (c *Client) doubt(e *endpoint, d digest.Digest, req *http.Request) {
	if e.mirror == "" && c.health.Suspects(d) > 0 {
		req.Header.Set("Cache-Control", "no-cache")
	}
}

// holdBlob reads a small blob as a whole, and from elsewhere where a mirror gave
// something else.
func (r *registrySource) holdBlob(ctx context.Context, b *blobStream) (io.ReadCloser, error) {
	stream := b.verified()
	content, err := io.ReadAll(stream)
	_ = stream.Close()
	switch {
	case err == nil:
		return io.NopCloser(bytes.NewReader(content)), nil
	case MirrorLied(err):
		return r.Blob(ctx, b.d)
	}
	return nil, fmt.Errorf("fetch blob from %q: %w", r.s.ref, err)
}
