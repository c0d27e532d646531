package transport

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nbpack/nbpack/internal/transport/byterange"
)

// The servers of the range tests: each gives content in its own way.

func goodRanges(content []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}
}

func whole(content []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Range")
		goodRanges(content)(w, r)
	}
}

func chunkedWhole(content []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		_, _ = w.Write(content)
	}
}

func isSeveral(r *http.Request) bool { return strings.Contains(r.Header.Get("Range"), ",") }

func ifSeveral(otherwise, several http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if isSeveral(r) {
			several(w, r)
			return
		}
		otherwise(w, r)
	}
}

// severalIgnored gives the whole blob to who asks for several parts at once.
func severalIgnored(content []byte) http.HandlerFunc {
	return ifSeveral(goodRanges(content), whole(content))
}

// firstOnly gives the first of several parts.
func firstOnly(content []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		one, _, _ := strings.Cut(r.Header.Get("Range"), ",")
		r.Header.Set("Range", one)
		goodRanges(content)(w, r)
	}
}

// onlySingle is firstOnly for who asks too much.
func onlySingle(content []byte) http.HandlerFunc { return firstOnly(content) }

// first lets a handler answer n times, and another afterwards.
func first(n int, a, b http.HandlerFunc) http.HandlerFunc {
	var mu sync.Mutex
	return func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		n--
		now := n >= 0
		mu.Unlock()
		if now {
			a(w, r)
			return
		}
		b(w, r)
	}
}

// headerOf answers each single range with another header, and several ranges
// one at a time.
func headerOf(h http.HandlerFunc, name, value string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		one, _, _ := strings.Cut(r.Header.Get("Range"), ",")
		if r.Header.Get("Range") == "" || name == "Content-Encoding" {
			one = r.Header.Get("Range")
		}
		r.Header.Set("Range", one)
		h(&editedHeader{w, name, value}, r)
	}
}

type editedHeader struct {
	http.ResponseWriter
	name, value string
}

func (e *editedHeader) WriteHeader(code int) {
	e.Header().Set(e.name, e.value)
	if e.value == "" {
		e.Header().Del(e.name)
	}
	e.ResponseWriter.WriteHeader(code)
}

func otherTotal(content []byte) http.HandlerFunc {
	return goodRanges(append(content[:len(content):len(content)], 'x'))
}

// dying breaks every answer off after n bytes of its body.
func dying(h http.HandlerFunc, n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { h(&mortal{w, n}, r) }
}

type mortal struct {
	http.ResponseWriter
	left int
}

func (m *mortal) Write(p []byte) (int, error) {
	if m.left >= len(p) {
		m.left -= len(p)
		return m.ResponseWriter.Write(p)
	}
	_, _ = m.ResponseWriter.Write(p[:m.left])
	m.ResponseWriter.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

func redirectTo(t testing.TB, h http.HandlerFunc) http.HandlerFunc {
	storage := httptest.NewServer(h)
	t.Cleanup(storage.Close)
	return func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, storage.URL+"/blob", http.StatusTemporaryRedirect)
	}
}

// partsOptions are what can be wrong with a multipart answer.
type partsOptions struct {
	join     int64  // join parts over gaps of this size
	swap     bool   // the second before the first
	twice    bool   // the first one twice
	leaveOut int    // this part
	most     int    // not more than this many; -1: none
	cut      int64  // so many bytes too few in the second part
	more     string // behind the content of the second part
	shift    int64  // parts begin so much later
	early    int64  // the second part begins so much sooner
	says     string // boundary in Content-Type; "-": none
	before   string // before the first boundary
	header   string // more header lines in each part
	open     bool   // no closing boundary
	noTotal  bool
	total    int // another size of the whole
}

// parts answers single ranges well and several ones as o says.
func parts(content []byte, o partsOptions) http.HandlerFunc {
	return ifSeveral(goodRanges(content), func(w http.ResponseWriter, r *http.Request) {
		const boundary = "THIS_IS_THE_BOUNDARY"
		ct := "multipart/byteranges; boundary=" + boundary
		switch o.says {
		case "":
		case "-":
			ct = "multipart/byteranges"
		default:
			ct = "multipart/byteranges; boundary=" + o.says
		}
		w.Header().Set("Content-Type", ct)
		w.WriteHeader(206)
		fmt.Fprint(w, o.before)
		for i, s := range o.arrange(askedSpans(r)) {
			total := fmt.Sprint(len(content))
			if o.noTotal {
				total = "*"
			}
			if o.total > 0 {
				total = fmt.Sprint(o.total)
			}
			fmt.Fprintf(w, "--%s\r\nContent-Type: x/y\r\nContent-Range: bytes %d-%d/%s\r\n%s\r\n", boundary, s.From, s.To-1, total, o.header)
			b := content[s.From:s.To]
			if i == 1 {
				b = b[:int64(len(b))-o.cut]
			}
			_, _ = w.Write(b)
			if i == 1 {
				fmt.Fprint(w, o.more)
			}
			fmt.Fprint(w, "\r\n")
		}
		if !o.open {
			fmt.Fprintf(w, "--%s--\r\n", boundary)
		}
	})
}

func askedSpans(r *http.Request) []byterange.Span {
	var spans []byterange.Span
	for one := range strings.SplitSeq(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), ",") {
		var s byterange.Span
		fmt.Sscanf(one, "%d-%d", &s.From, &s.To)
		spans = append(spans, byterange.Span{From: s.From, To: s.To + 1})
	}
	return spans
}

// arrange makes the list of parts that is sent.
func (o partsOptions) arrange(asked []byterange.Span) []byterange.Span {
	var out []byterange.Span
	for i, s := range asked {
		s.From += o.shift
		s.To += o.shift
		if n := len(out); n > 0 && o.join > 0 && s.From-out[n-1].To <= o.join {
			out[n-1].To = s.To
			continue
		}
		if o.leaveOut == 0 || o.leaveOut != i {
			out = append(out, s)
		}
	}
	if o.swap {
		out[0], out[1] = out[1], out[0]
	}
	if o.twice {
		out = append(out[:1:1], out...)
	}
	if o.most != 0 {
		out = out[:max(o.most, 0)]
	}
	if o.early > 0 {
		out[1].From -= o.early
	}
	if o.shift > 0 {
		out[len(out)-1].To -= o.shift
	}
	return out
}

// joinAll answers several ranges with one part that has them all.
func joinAll(content []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		asked := askedSpans(r)
		r.Header.Set("Range", byterange.Header([]byterange.Span{{From: asked[0].From, To: asked[len(asked)-1].To}}))
		goodRanges(content)(w, r)
	}
}

// longer sends more of each range than it announces.
func longer(content []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s := askedSpans(r)[0]
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", s.From, s.To-1, len(content)))
		w.Header().Set("Content-Length", fmt.Sprint(s.To-s.From+5))
		w.WriteHeader(206)
		_, _ = w.Write(content[s.From : s.To+5])
	}
}
