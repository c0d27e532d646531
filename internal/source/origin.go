package source

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
)

// Origin is a source as others may know it.
type Origin struct {
	// Name is the source as the user wrote it.
	Name string
	// Public names it without what only this machine knows: a file or directory
	// on disk by its last element, also in the reference of an image, and a URL
	// without a pin or credentials.
	Public string
	// Base is the file name of a source that is a file; empty for others.
	Base string
	// SHA256 of the whole file in hex, where it is known: it is pinned, or came
	// over the network, or holds other files and Options.Admit was asked.
	SHA256 string
	// Manifest is the digest of a source that is an image.
	Manifest digest.Digest
	// Facts are what the source says about itself.
	Facts []Fact
	// Entries are what Take lets through of the source, also where another one has
	// the same.
	Entries []Entry
}

// Origins gives the sources in their order.
func (s *Set) Origins() []Origin {
	var all []Origin
	for _, o := range s.opened {
		g := Origin{Name: o.name, Public: public(o.name), SHA256: o.sha256, Manifest: o.manifest, Facts: o.facts, Entries: o.entries}
		if o.file {
			g.Base = baseOf(g.Public)
		}
		all = append(all, g)
	}
	return all
}

// public takes away what is nobody's concern.
func public(name string) string {
	if u, err := url.Parse(name); err == nil && isURL(name) {
		u.User, u.Fragment, u.RawQuery = nil, "", ""
		return u.String()
	}
	if disk, ok := LocalPath(name); ok {
		if abs, err := filepath.Abs(disk); err == nil {
			disk = abs // "." has a name, too
		}
		return filepath.Base(disk)
	}
	for _, prefix := range localImages {
		if path, ok := strings.CutPrefix(name, prefix); ok {
			tag := ""
			if i := strings.IndexByte(path, ':'); i >= 0 && prefix != transport.Dir+":" {
				path, tag = path[:i], path[i:]
			}
			return prefix + public(FilePrefix+path) + tag
		}
	}
	return name
}

// localImages begin the names of images on disk.
var localImages = []string{transport.OCI + ":", transport.OCIArchive + ":", transport.Dir + ":"}

// at says where a source, or a document, is.
func (o *Options) at(name string) string {
	if at, ok := o.Found[name]; ok {
		return at
	}
	return name
}

// baseOf gives the last element, of a URL unescaped.
func baseOf(public string) string {
	if u, err := url.Parse(public); err == nil && isURL(public) {
		public = u.Path
	}
	return public[strings.LastIndexByte(public, '/')+1:]
}

// checkPins refuses pins that pin nothing.
func checkPins(o *Options) error {
	for name, pin := range o.Pins {
		if !isSHA256(pin) {
			return usage("it has 64 hexadecimal digits in lower case", "%q does not pin the SHA-256 of %q", pin, name)
		}
		if isImage(name) {
			return usage("name an image by its digest, NAME@sha256:HEX", "%q is an image, which has no file to pin", name)
		}
		if isURL(name) {
			return usage("write #sha256= and the digits behind it", "%q is a URL, which is pinned otherwise", name)
		}
	}
	return nil
}

// pinned compares a file with the pin for it, before anything looks into it.
func (s *Set) pinned(ctx context.Context, o *opened, c content) error {
	pin := s.o.Pins[o.name]
	if pin == "" {
		return nil
	}
	if err := s.hash(ctx, o, c); err != nil {
		return err
	}
	return checkPin(o.name, pin, o.sha256)
}

// admit asks whether a file that holds others may be read, if somebody wants to
// be asked.
func (s *Set) admit(ctx context.Context, o *opened, c content) error {
	if s.o.Admit != nil || s.o.Hash {
		if err := s.hash(ctx, o, c); err != nil {
			return err
		}
	}
	if s.o.Admit == nil {
		return nil
	}
	return s.o.Admit(baseOf(public(o.name)), o.sha256)
}

// hash finds out the SHA-256 of a source that is a file.
func (s *Set) hash(ctx context.Context, o *opened, c content) (err error) {
	if o.sha256 == "" {
		o.sha256, err = (&Entry{Name: o.name, Origin: o.name, content: c}).sum(ctx)
	}
	return err
}

func checkPin(name, pin, sum string) error {
	if pin == "" || pin == sum {
		return nil
	}
	return refuse(RuleDigest, name, "nothing was packed; if the publisher changed the file, pin the new one",
		"has the SHA-256 %s, not the one it is pinned to", sum)
}

// Fetch gets a small document of at most limit bytes from a web server, as
// sources are fetched from there.
func Fetch(ctx context.Context, o Options, name string, limit int64) ([]byte, error) {
	u, pin, err := parseURL(name, o.PlainHTTP)
	if err != nil {
		return nil, err
	}
	s := &spool{dir: o.TempDir}
	defer s.close() // it has no name, and goes with the process at the latest
	w := newWeb(&o)
	defer w.client.CloseIdleConnections()
	p, sum, err := w.fetch(ctx, u.String(), s, limit)
	if err != nil {
		return nil, err
	}
	if err := checkPin(name, pin, sum); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(p.reader())
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", name, err)
	}
	return b, nil
}

// IsURL tells whether a source, or a document, is on a web server.
func IsURL(name string) bool { return isURL(name) }

// IsImage tells whether a source is an image.
func IsImage(name string) bool { return isImage(name) }

// IsSHA256 tells whether s is a SHA-256 in lower-case hex.
func IsSHA256(s string) bool { return isSHA256(s) }

// Public names a source or a document as in Origin.
func Public(name string) string { return public(name) }

// Made makes an entry of a file that no source has.
func Made(name string, b []byte) Entry {
	return Entry{Name: name, Type: spec.TypeFile, Size: int64(len(b)), content: piece{at: bytes.NewReader(b), size: int64(len(b))}}
}

// IsTree tells whether a source is an install tree on a web server.
func IsTree(name string) bool { return isURL(name) && strings.HasSuffix(name, "/") }
