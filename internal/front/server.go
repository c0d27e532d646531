package front

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/nbpack/nbpack/internal/drain"
)

const (
	headerTime = 10 * time.Second
	idleTime   = 2 * time.Minute
	adminTime  = time.Minute
)

// Options say how a front is run.
type Options struct {
	// Dir is the tree, and Config what ReadConfig gave.
	Dir    string
	Config *Config
	// Drain is how long transfers may go on when it is to end.
	Drain time.Duration
	// Agent is the User-Agent of what is asked of mirrors.
	Agent string
	// Log and Warn take lines about requests and about mirrors; nil drops them.
	Log, Warn func(format string, a ...any)
}

// Server is a front with its listeners.
type Server struct {
	o       Options
	tree    *tree
	crawler *crawler
	handler *handler
	mirrors []*mirror
	meter   *meter

	listener, admin net.Listener
}

// New opens the tree and the sockets. Close, or Run, releases them.
func New(o Options) (*Server, error) {
	quiet := func(string, ...any) {}
	if o.Log == nil {
		o.Log = quiet
	}
	if o.Warn == nil {
		o.Warn = quiet
	}
	tree, err := openTree(o.Dir)
	if err != nil {
		return nil, err
	}
	s := &Server{o: o, tree: tree, meter: newMeter(), crawler: newCrawler(tree, o.Config.Crawl, o.Agent)}
	for _, m := range o.Config.Mirrors {
		s.mirrors = append(s.mirrors, newMirror(m))
	}
	s.crawler.log, s.crawler.warn = o.Log, o.Warn
	s.crawler.counted = func(m *mirror, outcome string) { s.meter.looked(m.Name, outcome) }
	s.handler = &handler{
		tree: s.tree, mirrors: s.mirrors, proxies: o.Config.TrustedProxies, memory: memory{asked: map[question]answer{}},
		meter: s.meter, now: time.Now, log: o.Log, doubt: s.crawler.doubt,
	}
	if err := s.listen(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// listen opens the sockets.
func (s *Server) listen() (err error) {
	c := s.o.Config
	if s.listener, err = net.Listen("tcp", c.Listen); err != nil {
		return fmt.Errorf("serve the registry: %w", err)
	}
	if c.TLSCert != "" {
		certs := &certificate{cert: c.TLSCert, key: c.TLSKey, warn: s.o.Warn}
		if _, err := certs.get(nil); err != nil {
			return fmt.Errorf("read the certificate: %w", err)
		}
		s.listener = tls.NewListener(s.listener, &tls.Config{
			MinVersion: tls.VersionTLS12, GetCertificate: certs.get, NextProtos: []string{"h2", "http/1.1"},
		})
	}
	if c.Metrics != "" {
		if s.admin, err = net.Listen("tcp", c.Metrics); err != nil {
			return fmt.Errorf("serve metrics: %w", err)
		}
	}
	return nil
}

// Close releases what New opened. After Run there is nothing left to do.
func (s *Server) Close() {
	for _, l := range []net.Listener{s.listener, s.admin} {
		if l != nil {
			_ = l.Close()
		}
	}
	_ = s.tree.root.Close()
}

// Addr is where the registry is served, and AdminAddr where metrics are: nil for
// none.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// AdminAddr is like Addr.
func (s *Server) AdminAddr() net.Addr {
	if s.admin == nil {
		return nil
	}
	return s.admin.Addr()
}

// Run serves until the context ends. Then nothing new is begun, and what is being
// sent may go on for Options.Drain.
func (s *Server) Run(ctx context.Context) error {
	defer s.Close()
	g := drain.New(ctx)
	serve := func(l net.Listener, h *http.Server) {
		h.ReadHeaderTimeout, h.IdleTimeout, h.MaxHeaderBytes = headerTime, idleTime, 32<<10
		g.Serve(l, h)
	}
	serve(s.listener, &http.Server{Handler: s.handler})
	if s.admin != nil {
		serve(s.admin, &http.Server{Handler: s.adminHandler(g), WriteTimeout: adminTime})
	}
	g.Go(func() error { s.crawler.run(g.Context(), s.mirrors); return nil })
	return g.Wait(s.o.Drain)
}

// adminHandler serves what the monitoring of a site asks for, on a listener of its
// own.
func (s *Server) adminHandler(g *drain.Group) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", g.Health(func() error { _, err := s.tree.list(); return err }))
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_ = s.meter.write(w, s.Status()) // whoever went away asks again
	})
	mux.HandleFunc("GET /mirrors", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		_ = enc.Encode(s.Status())
	})
	return mux
}

// Status tells of all mirrors, in the order of the configuration.
func (s *Server) Status() []Status {
	var out []Status
	for _, m := range s.mirrors {
		out = append(out, m.status())
	}
	return out
}

// certificate reads its files again when they have changed, as those who renew it
// expect.
type certificate struct {
	cert, key string
	warn      func(format string, a ...any)

	mu      sync.Mutex
	changed time.Time
	loaded  *tls.Certificate
	told    string // what the last warning was about
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	st, err := os.Stat(c.cert)
	if err == nil && c.loaded != nil && st.ModTime().Equal(c.changed) {
		return c.loaded, nil
	}
	if err == nil {
		var pair tls.Certificate
		if pair, err = tls.LoadX509KeyPair(c.cert, c.key); err == nil {
			c.loaded, c.changed, c.told = &pair, st.ModTime(), ""
			return c.loaded, nil
		}
	}
	if c.loaded == nil {
		return nil, err
	}
	// Each handshake tries again, since the key may come later. Each state of the
	// files is told of once.
	state := err.Error()
	if st != nil {
		state += st.ModTime().String()
	}
	if state != c.told {
		c.told = state
		c.warn("read the certificate: %v; the one before is used", err)
	}
	return c.loaded, nil
}
