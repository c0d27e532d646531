package drain

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// long is a patience that no test lives to see.
const long = time.Hour

func TestParts(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	g := New(ctx)
	var ended atomic.Int32
	g.Go(func() error {
		g.Go(func() error { // begun late
			<-g.Transfers().Done()
			ended.Add(1)
			return nil
		})
		end()
		<-g.Context().Done()
		ended.Add(1)
		return nil
	})
	if err := g.Wait(0); err != nil || ended.Load() != 2 {
		t.Errorf("%v, %d parts ended", err, ended.Load())
	}
}

func TestFailure(t *testing.T) {
	first := errors.New("first")
	g := New(t.Context())
	g.Go(func() error { return first })
	g.Go(func() error {
		<-g.Context().Done()
		return errors.New("second")
	})
	if err := g.Wait(long); err != first {
		t.Error(err)
	}
	// What fails while the group ends is told, too.
	ctx, end := context.WithCancel(t.Context())
	end()
	g = New(ctx)
	g.Go(func() error { return first })
	if err := g.Wait(long); err != first {
		t.Error(err)
	}
	// And a server that cannot run.
	l := listen(t)
	_ = l.Close()
	g = New(t.Context())
	g.Serve(l, &http.Server{Handler: http.NotFoundHandler()})
	if err := g.Wait(long); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// TestServe: an answer that is under way when the group is to end is given whole within
// the patience, and cut after it; connections that wait for nothing do not last.
func TestServe(t *testing.T) {
	for _, patience := range []time.Duration{long, 0} {
		ctx, end := context.WithCancel(t.Context())
		g, l := New(ctx), listen(t)
		begun, rest := make(chan struct{}), make(chan struct{})
		var answered atomic.Bool
		mux := http.NewServeMux()
		mux.HandleFunc("/quick", func(http.ResponseWriter, *http.Request) {})
		mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
			defer answered.Store(true)
			_, _ = io.WriteString(w, "one")
			_ = http.NewResponseController(w).Flush()
			close(begun)
			select {
			case <-rest:
				_, _ = io.WriteString(w, " two")
			case <-r.Context().Done():
				panic(http.ErrAbortHandler)
			}
		})
		var states atomic.Int32
		h := &http.Server{Handler: mux, ConnState: func(net.Conn, http.ConnState) { states.Add(1) }}
		politely := make(chan struct{})
		h.RegisterOnShutdown(func() { close(politely) }) // which is not called by Close
		g.Serve(l, h)
		idle := &http.Client{Transport: &http.Transport{}}
		get(t, idle, "http://"+l.Addr().String()+"/quick")
		c := &http.Client{Transport: &http.Transport{}}
		resp, err := c.Get("http://" + l.Addr().String() + "/slow")
		if err != nil {
			t.Fatal(err)
		}
		<-begun
		over := make(chan error, 1)
		go func() { over <- g.Wait(patience) }()
		end()
		if patience > 0 {
			select {
			case <-politely:
			case err := <-over:
				t.Fatalf("it does not wait for the answer: %v", err)
			}
			close(rest)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if whole := err == nil && string(body) == "one two"; whole != (patience > 0) {
			t.Errorf("patience %s: %q, %v", patience, body, err)
		}
		if err := <-over; err != nil || !answered.Load() || states.Load() < 6 {
			t.Errorf("patience %s: %v, answered %v, %d states", patience, err, answered.Load(), states.Load())
		}
		if _, err := idle.Get("http://" + l.Addr().String() + "/quick"); err == nil {
			t.Errorf("patience %s: it still answers", patience)
		}
	}
}

// TestHTTP2: handlers that outlive their connections are waited for.
func TestHTTP2(t *testing.T) {
	sample := httptest.NewTLSServer(nil)
	defer sample.Close()
	ctx, end := context.WithCancel(t.Context())
	g := New(ctx)
	l := tls.NewListener(listen(t), &tls.Config{Certificates: sample.TLS.Certificates, NextProtos: []string{"h2"}})
	begun := make(chan struct{})
	var answered atomic.Bool
	g.Serve(l, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
		for range 10000 { // the connection has ended long before
			runtime.Gosched()
		}
		answered.Store(true)
	})})
	config := sample.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	config.ServerName = "example.com"
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}}
	failed := make(chan error, 1)
	go func() {
		resp, err := c.Get("https://" + l.Addr().String())
		if err == nil {
			_ = resp.Body.Close()
		}
		failed <- err
	}()
	select {
	case <-begun:
	case err := <-failed:
		t.Fatal(err)
	}
	end()
	if err := g.Wait(0); err != nil || !answered.Load() {
		t.Errorf("%v, answered %v", err, answered.Load())
	}
	if err := <-failed; err == nil {
		t.Error("the answer was not cut")
	}
	w := httptest.NewRecorder()
	defer func() {
		if recover() != http.ErrAbortHandler {
			t.Error("somebody is answered after the end")
		}
	}()
	g.answering(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
}

// TestLateConnection: one that was accepted while the server was closed is closed.
func TestLateConnection(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	end()
	g := New(ctx)
	hook := g.joined(nil)
	early, client := net.Pipe()
	hook(early, http.StateNew)
	if err := early.SetDeadline(time.Time{}); err != nil {
		t.Errorf("closed within the patience: %v", err)
	}
	_ = client.Close()
	g.cut()
	late, client := net.Pipe()
	hook(late, http.StateNew)
	if _, err := client.Read(make([]byte, 1)); err != io.EOF {
		t.Error(err)
	}
	hook(early, http.StateClosed)
	hook(late, http.StateClosed)
	if err := g.Wait(long); err != nil {
		t.Error(err)
	}
}

func TestHealth(t *testing.T) {
	g := New(t.Context())
	var broken error
	h := g.Health(func() error { return broken })
	want := func(code int, text string) {
		t.Helper()
		w := httptest.NewRecorder()
		h(w, httptest.NewRequest("GET", "/healthz", nil))
		if w.Code != code || w.Body.String() != text+"\n" {
			t.Errorf("%d %q instead of %d %q", w.Code, w.Body, code, text)
		}
	}
	want(200, "ok")
	broken = errors.New("no tree")
	want(503, "no tree")
	g.stop()
	want(503, "stopping")
	if err := g.Wait(long); err != nil {
		t.Error(err)
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func get(t *testing.T, c *http.Client, url string) {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
}
