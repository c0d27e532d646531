package source

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path"
	"strings"
	"time"

	"io/fs"

	"github.com/nbpack/nbpack/spec"
)

// pinPrefix begins the fragment of a URL that pins its content.
const pinPrefix = "sha256="

// url opens what a web server has as a source: a file, or below a URL that ends
// in a slash an install tree.
func (s *Set) url(ctx context.Context, name, at string) (*opened, error) {
	u, pin, err := parseURL(at, s.o.PlainHTTP)
	if err != nil {
		return nil, err
	}
	w := newWeb(&s.o)
	defer w.client.CloseIdleConnections()
	o := &opened{name: name}
	if strings.HasSuffix(u.Path, "/") || u.Path == "" {
		if pin != "" {
			return nil, usage("pin files, or take an image", "%q is a directory, which has no SHA-256", name)
		}
		if s.o.Plain {
			return nil, usage("name files, or use --format image or artifact", "with --format file each source is a file, and %q is none", name)
		}
		return o, s.installTree(ctx, w, u, o)
	}
	p, sum, err := w.fetch(ctx, u.String(), s.spool, webMaxFile)
	if err != nil {
		return nil, hintDirectory(err, name)
	}
	if err := checkPin(name, pin, sum); err != nil {
		return nil, err
	}
	o.file, o.sha256 = true, sum
	base := path.Base(u.Path)
	if s.o.Plain {
		return o, s.wholePiece(o, base, p, sum)
	}
	a := &archiveFile{s: s, o: o, name: name, at: p.reader(), size: p.size}
	kind, err := a.sniff(base)
	if err != nil {
		return nil, err
	}
	if kind == nil {
		return o, s.wholePiece(o, base, p, sum)
	}
	if err := s.admit(ctx, o, p); err != nil {
		return nil, err
	}
	return o, kind(ctx, a)
}

func (s *Set) wholePiece(o *opened, base string, p piece, sum string) error {
	err := s.whole(o, base, p, pieceInfo{base, p.size})
	for i := range o.entries {
		o.entries[i].SHA256 = sum
	}
	return err
}

// pieceInfo describes a piece as a file.
type pieceInfo struct {
	name string
	size int64
}

func (p pieceInfo) Name() string       { return p.name }
func (p pieceInfo) Size() int64        { return p.size }
func (p pieceInfo) Mode() fs.FileMode  { return 0o444 }
func (p pieceInfo) ModTime() time.Time { return time.Time{} }
func (p pieceInfo) IsDir() bool        { return false }
func (p pieceInfo) Sys() any           { return nil }

// hintDirectory says how a directory is written, should that be meant.
func hintDirectory(err error, name string) error {
	var status *statusError
	if errors.As(err, &status) && status.missing() {
		return &hinted{err, "a directory ends in a slash: " + name + "/"}
	}
	return err
}

type hinted struct {
	err  error
	hint string
}

func (e *hinted) Error() string { return e.err.Error() }
func (e *hinted) Unwrap() error { return e.err }
func (e *hinted) Hint() string  { return e.hint }

// parseURL splits the pin off. Without TLS nobody knows who answers, so plain
// http needs a pin or the user's word.
func parseURL(name string, plain bool) (*url.URL, string, error) {
	u, err := url.Parse(name)
	if err != nil || u.Host == "" {
		return nil, "", usage("", "%q is no URL", name)
	}
	var pin string
	if u.Fragment != "" {
		var ok bool
		if pin, ok = strings.CutPrefix(u.Fragment, pinPrefix); !ok {
			return nil, "", usage("write #sha256= and 64 hexadecimal digits", "%q has the fragment %q, which pins nothing", name, u.Fragment)
		}
		if b, err := hex.DecodeString(pin); err != nil || len(b) != 32 || strings.ToLower(pin) != pin {
			return nil, "", usage("it has 64 hexadecimal digits", "%q does not pin a SHA-256", name)
		}
		u.Fragment = ""
	}
	if u.Scheme == "http" && pin == "" && !plain {
		return nil, "", usage("use https, pin it with #sha256=HEX, or allow it with --tls-verify=false", "%q is not protected by TLS", name)
	}
	return u, pin, nil
}

// installTree takes the boot files of a tree that a distribution publishes. A
// web server lists no files, so a document there has to name them.
func (s *Set) installTree(ctx context.Context, w *web, u *url.URL, o *opened) error {
	t := &webTree{s: s, w: w, base: u, o: o, c: newCollector(s, u.String(), rule{})}
	for _, form := range []struct {
		names []string
		take  func(ctx context.Context, name, text string) error
	}{{[]string{".treeinfo", "treeinfo"}, t.treeInfo}, {[]string{"SHA256SUMS", "../SHA256SUMS"}, t.sums}} {
		for _, name := range form.names {
			text, ok, err := t.text(ctx, name)
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			if err := form.take(ctx, name, text); err != nil {
				return err
			}
			o.entries, o.facts = t.c.entries, t.c.facts.list
			return nil
		}
	}
	return &missingError{&hinted{fmt.Errorf("%q has neither .treeinfo nor SHA256SUMS, which would name its files", o.name),
		"name files, a tar archive or an ISO image there"}}
}

// webTree is an install tree on a web server.
type webTree struct {
	s    *Set
	w    *web
	base *url.URL
	o    *opened
	c    *collector
}

// text gets a small document, and false if there is none.
func (t *webTree) text(ctx context.Context, name string) (string, bool, error) {
	p, _, err := t.w.fetch(ctx, t.base.JoinPath(name).String(), t.s.spool, spec.MaxSumsSize)
	var status *statusError
	if errors.As(err, &status) && status.missing() {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	b, err := io.ReadAll(p.reader())
	return string(b), true, err
}

// treeFile is a file that a document names.
type treeFile struct {
	name   string // in the tree
	path   string // below the URL
	sha256 string // promised; may be empty
	by     string // the document
	maybe  bool   // it need not be there
	boot   bool   // it belongs to the boot set
}

// take fetches the files that are wanted.
func (t *webTree) take(ctx context.Context, files []treeFile) error {
	found := false
	for _, f := range files {
		if !f.boot && !t.s.o.Chosen {
			continue
		}
		if _, wanted := t.c.choose(f.name, member{name: f.name, kind: spec.TypeFile}); !wanted {
			continue
		}
		p, sum, err := t.w.fetch(ctx, t.base.JoinPath(f.path).String(), t.s.spool, webMaxFile)
		var status *statusError
		if f.maybe && errors.As(err, &status) && status.missing() {
			continue
		}
		if err != nil {
			return err
		}
		if f.sha256 != "" && f.sha256 != sum {
			return refuse(RuleDigest, f.name, "the mirror may be updating: try again, or another mirror", "has the SHA-256 %s, %s says %s", sum, f.by, f.sha256)
		}
		if err := t.c.add(ctx, member{name: f.name, kind: spec.TypeFile, size: p.size, at: p}, p.reader()); err != nil {
			return err
		}
		last := &t.c.entries[len(t.c.entries)-1]
		last.SHA256 = sum
		if f.sha256 != "" {
			last.PromisedBy = f.by
		}
		found = found || f.boot
	}
	if !found && len(t.c.entries) == 0 {
		t.s.o.log("source %q: none of the %d files that it names is wanted; --include chooses from them", t.o.name, len(files))
	}
	return nil
}
