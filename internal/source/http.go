package source

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// webTries is how often a request is sent before its failure is believed.
	webTries = 5
	// webStall is how long a server may be silent.
	webStall = 60 * time.Second
	// webWait doubles with every try.
	webWait = 500 * time.Millisecond
	// webMaxFile bounds what is fetched as one file.
	webMaxFile = 64 << 30
)

// web fetches files from web servers.
type web struct {
	client *http.Client
	plain  bool
	log    func(string, ...any)
	heard  func(name string, done, total int64)
	sleep  func(ctx context.Context, d time.Duration) error
}

func newWeb(o *Options) *web {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = webStall
	t.DisableCompression = true // a file is what the server has, not how it travels
	if o.PlainHTTP {
		t.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the user asked for it
	}
	w := &web{plain: o.PlainHTTP, log: o.log, heard: o.Progress, sleep: pause}
	w.client = &http.Client{Transport: t, CheckRedirect: w.redirect}
	return w
}

// redirect allows few redirects, and none that leave TLS.
func (w *web) redirect(req *http.Request, via []*http.Request) error {
	if len(via) > 10 {
		return errors.New("more than 10 redirects")
	}
	if req.URL.Scheme != "https" && via[0].URL.Scheme == "https" && !w.plain {
		return fmt.Errorf("redirected from https to %q", req.URL.Redacted())
	}
	return nil
}

// pause waits for d, or until the context ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// statusError is an answer that is not a success.
type statusError struct {
	url  string
	code int
}

func (e *statusError) Error() string {
	return fmt.Sprintf("get %q: the server answered %d %s", e.url, e.code, http.StatusText(e.code))
}

// ExitCode tells what is not there from what failed.
func (e *statusError) ExitCode() int {
	if e.missing() {
		return 4
	}
	return 1
}

func (e *statusError) missing() bool {
	return e.code == http.StatusNotFound || e.code == http.StatusGone
}

// passing reports whether it may be different next time.
func (e *statusError) passing() bool {
	return e.code >= 500 || e.code == http.StatusRequestTimeout || e.code == http.StatusTooManyRequests
}

// download is one file on its way into the spool.
type download struct {
	w     *web
	url   string
	limit int64
	out   *spoolWriter
	total int64  // -1: the server does not tell
	etag  string // of what is being fetched, to go on with the same
}

// fetch gets a file of at most limit bytes. A connection that breaks is taken up
// again where it broke, if the server still has the same file.
func (w *web) fetch(ctx context.Context, url string, s *spool, limit int64) (piece, string, error) {
	if err := s.room(0); err != nil {
		return piece{}, "", err
	}
	d := &download{w: w, url: url, limit: limit, out: s.writer(), total: -1}
	for try := 1; ; try++ {
		before := d.out.size
		err := d.once(ctx)
		if err == nil {
			p, sum := d.out.done()
			return p, sum, nil
		}
		if ctx.Err() != nil {
			return piece{}, "", ctx.Err()
		}
		if d.out.size > before {
			try = 1 // it gets on
		}
		if try >= webTries || final(err) {
			return piece{}, "", err
		}
		w.log("%v; trying again", err)
		if err := w.sleep(ctx, webWait<<(try-1)); err != nil {
			return piece{}, "", err
		}
	}
}

// final reports whether an error would only come again.
func final(err error) bool {
	var status *statusError
	if errors.As(err, &status) {
		return !status.passing()
	}
	var coded interface{ ExitCode() int }
	var space *spaceError
	var cert *tls.CertificateVerificationError
	return errors.As(err, &coded) || errors.As(err, &space) || errors.As(err, &cert)
}

// once sends one request and keeps what comes.
func (d *download) once(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url, nil)
	if err != nil {
		return usage("", "%q is no URL: %v", d.url, err)
	}
	req.Header.Set("Accept-Encoding", "identity")
	if d.out.size > 0 && d.etag != "" {
		req.Header.Set("Range", "bytes="+strconv.FormatInt(d.out.size, 10)+"-")
		req.Header.Set("If-Range", d.etag)
	}
	resp, err := d.w.client.Do(req)
	if err != nil {
		return err // it names method and URL
	}
	defer resp.Body.Close()
	// Servers redirect from a directory to a page that lists it, which nobody boots.
	if strings.HasSuffix(resp.Request.URL.Path, "/") && !strings.HasSuffix(req.URL.Path, "/") {
		return usage("an install tree is named with a slash at its end", "%q is a directory on the server", d.url)
	}
	if err := d.begin(resp); err != nil {
		return err
	}
	idle := time.AfterFunc(webStall, func() { cancel(fmt.Errorf("get %q: the server sent nothing for %s", d.url, webStall)) })
	defer idle.Stop()
	if _, err := io.Copy(d.out, &watched{r: resp.Body, d: d, idle: idle}); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return fmt.Errorf("get %q: %w", d.url, err)
	}
	if d.total >= 0 && d.out.size != d.total {
		return fmt.Errorf("get %q: %d bytes of %d: %w", d.url, d.out.size, d.total, io.ErrUnexpectedEOF)
	}
	return nil
}

// begin looks at the answer. One that does not go on where the last one ended
// starts anew.
func (d *download) begin(resp *http.Response) error {
	switch resp.StatusCode {
	case http.StatusPartialContent:
		want := "bytes " + strconv.FormatInt(d.out.size, 10) + "-"
		_, total, ok := strings.Cut(resp.Header.Get("Content-Range"), "/")
		if d.out.size == 0 || !ok || !strings.HasPrefix(resp.Header.Get("Content-Range"), want) || total != strconv.FormatInt(d.total, 10) {
			return badArchive(d.url, "the server answered with another part than it was asked for")
		}
		return nil
	case http.StatusOK:
		d.out.restart()
	default:
		return &statusError{d.url, resp.StatusCode}
	}
	d.total, d.etag = resp.ContentLength, ""
	if e := resp.Header.Get("ETag"); d.total >= 0 && strings.HasPrefix(e, `"`) { // a weak one does not promise the same bytes
		d.etag = e
	}
	if d.total > d.limit {
		return d.tooLarge()
	}
	return d.out.s.room(max(d.total, 0))
}

func (d *download) tooLarge() error {
	return refuse(RuleFormat, d.url, "", "has more than %d bytes", d.limit)
}

// watched is a body that is watched for silence and excess.
type watched struct {
	r    io.Reader
	d    *download
	idle *time.Timer
}

// Read implements io.Reader.
func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	w.idle.Reset(webStall)
	if done := w.d.out.size + int64(n); done > w.d.limit {
		return 0, w.d.tooLarge()
	} else if w.d.w.heard != nil && n > 0 {
		w.d.w.heard(w.d.url, done, w.d.total)
	}
	return n, err
}
