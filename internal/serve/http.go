package serve

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"path"
	"strings"
	"sync"
	"time"
)

// Times for HTTP. A client may be as slow as it likes, as long as something moves.
const (
	headerTime = 10 * time.Second
	idleTime   = time.Minute
	stallTime  = time.Minute // for one chunk
	chunkSize  = 1 << 20
)

// web answers GET and HEAD.
type web struct {
	store  *store
	limits *limits
	meter  *meter
	log    func(format string, a ...any)
	now    func() time.Time

	mu   sync.Mutex
	open map[net.Conn]netip.Addr // connections that the limits have let in
}

// server makes the server of net/http around w.
func (w *web) server() *http.Server {
	return &http.Server{
		Handler: w, ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: 16 << 10,
		ConnState: w.connection,
	}
}

// connection closes at once what is too much.
func (w *web) connection(c net.Conn, state http.ConnState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch state {
	case http.StateNew:
		addr := remoteAddr(c.RemoteAddr().String())
		if why := w.limits.enter(addr); why != "" {
			w.meter.refused("http", why)
			_ = c.Close()
			return
		}
		w.open[c] = addr
	case http.StateClosed, http.StateHijacked:
		if addr, ok := w.open[c]; ok {
			delete(w.open, c)
			w.limits.leave(addr)
		}
	}
}

// remoteAddr reads the address in HOST:PORT.
func remoteAddr(s string) netip.Addr {
	ap, _ := netip.ParseAddrPort(s)
	return plainAddr(ap.Addr())
}

// ServeHTTP answers one request.
func (w *web) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	started := time.Now()
	client := remoteAddr(r.RemoteAddr)
	rw.Header().Set("X-Content-Type-Options", "nosniff")
	if r.ContentLength != 0 {
		rw.Header().Set("Connection", "close") // nobody waits for a body that nobody wants
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		rw.Header().Set("Allow", "GET, HEAD")
		http.Error(rw, "this server is read-only", http.StatusMethodNotAllowed)
		w.meter.refused("http", "request")
		return
	}
	// A path that ends in a slash is a directory, to which nobody pins a machine.
	f, err := w.store.open(client, r.URL.Path, !strings.HasSuffix(r.URL.Path, "/"))
	if err == nil && f.info.IsDir() {
		defer f.Close()
		w.directory(rw, r, client, f)
		return
	}
	if err == nil && strings.HasSuffix(r.URL.Path, "/") {
		f.Close()
		err = fs.ErrNotExist // a file is no directory
	}
	if err != nil {
		w.fail(rw, r, client, err)
		return
	}
	defer f.Close()
	w.file(rw, r, client, f, started)
}

func (w *web) fail(rw http.ResponseWriter, r *http.Request, client netip.Addr, err error) {
	code, text := http.StatusInternalServerError, "the file cannot be read"
	switch {
	case errors.Is(err, fs.ErrNotExist):
		code, text = http.StatusNotFound, "file not found"
	case errors.Is(err, fs.ErrPermission):
		code, text = http.StatusForbidden, "the server may not read it"
	}
	w.meter.done("http", outcomeOf(err), 0)
	w.log("http %s: %s %q: %s", client, r.Method, r.URL.Path, text)
	http.Error(rw, text, code)
}

// file sends a file, or the ranges of it that were asked for.
func (w *web) file(rw http.ResponseWriter, r *http.Request, client netip.Addr, f *file, started time.Time) {
	h := rw.Header()
	h.Set("Content-Type", contentType(f))
	// What a path holds depends on who asks, and changes with an update.
	h.Set("Cache-Control", "private, no-cache")
	h.Set("Etag", fmt.Sprintf(`"%x-%x"`, f.info.ModTime().UnixNano(), f.info.Size()))
	if f.digest != "" {
		h.Set("X-Netboot-Generation", f.digest)
	}
	s := &sender{ResponseWriter: rw, control: http.NewResponseController(rw), meter: w.meter}
	w.meter.begin("http")
	http.ServeContent(s, r, "", f.info.ModTime(), f.File)
	w.meter.end("http")
	outcome, how := complete, "sent"
	if s.err != nil {
		outcome, how = aborted, "broke off"
	}
	w.meter.done("http", outcome, 0)
	w.log("http %s: %s %q: %d, %s %d bytes in %s%s", client, r.Method, r.URL.Path, s.status, how, s.n, since(started), ofGeneration(f))
}

// sender counts what is sent, and gives each chunk its time: a deadline for the
// whole would cut off slow machines with large images, and none would let dead ones
// stay for ever.
type sender struct {
	http.ResponseWriter
	control *http.ResponseController
	meter   *meter
	status  int
	n       int64
	err     error
}

func (s *sender) WriteHeader(code int) {
	s.status = code
	s.ResponseWriter.WriteHeader(code)
}

func (s *sender) Write(p []byte) (int, error) {
	_ = s.control.SetWriteDeadline(time.Now().Add(stallTime)) // a server that cannot has its own
	n, err := s.ResponseWriter.Write(p)
	s.count(int64(n), err)
	return n, err
}

// ReadFrom keeps the way open for the kernel to send a file by itself, which
// needs to see a file behind at most one limit.
func (s *sender) ReadFrom(r io.Reader) (total int64, err error) {
	left := int64(1<<63 - 1)
	limited, ok := r.(*io.LimitedReader)
	if ok {
		r, left = limited.R, limited.N
	}
	for left > 0 {
		_ = s.control.SetWriteDeadline(time.Now().Add(stallTime))
		want := min(left, chunkSize)
		n, err := io.Copy(s.ResponseWriter, &io.LimitedReader{R: r, N: want})
		total, left = total+n, left-n
		s.count(n, err)
		if err != nil || n < want {
			return total, err
		}
	}
	return total, nil
}

func (s *sender) count(n int64, err error) {
	s.n += n
	s.meter.bytes("http", n)
	if err != nil {
		s.err = err
	}
}

// contentType says what firmware needs to hear: it takes an EFI program only as
// application/efi, also one that is named BOOT, so the content decides.
func contentType(f *file) string {
	ext := strings.ToLower(path.Ext(f.path))
	if ext == ".efi" || isEFI(f.File) {
		return "application/efi"
	}
	switch ext {
	case ".cfg", ".conf", ".ipxe", ".txt", ".ks", ".seed":
		return "text/plain; charset=utf-8"
	case ".html":
		return "text/html; charset=utf-8"
	case ".json":
		return "application/json"
	}
	return "application/octet-stream"
}

// isEFI tells whether a file is a PE program, as EFI programs are.
func isEFI(f io.ReaderAt) bool {
	header := make([]byte, 64)
	if _, err := f.ReadAt(header, 0); err != nil || !bytes.HasPrefix(header, []byte("MZ")) {
		return false
	}
	signature := make([]byte, 4)
	_, err := f.ReadAt(signature, int64(binary.LittleEndian.Uint32(header[60:])))
	return err == nil && string(signature) == "PE\x00\x00"
}

// outcomeOf names the end of a request that found no file.
func outcomeOf(err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return missing
	}
	return failed
}

// since rounds a duration for a line in a log.
func since(t time.Time) time.Duration {
	d := time.Since(t)
	if d > time.Second {
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(10 * time.Microsecond)
}

// ofGeneration is the end of a line in the log.
func ofGeneration(f *file) string {
	if f.digest == "" {
		return ""
	}
	return ", of " + shortDigest(f.digest)
}

func shortDigest(d string) string {
	if algorithm, hex, ok := strings.Cut(d, ":"); ok && len(hex) > 12 {
		return algorithm + ":" + hex[:12]
	}
	return d
}
