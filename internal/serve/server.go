package serve

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/nbpack/nbpack/internal/drain"
)

// Defaults of Options.
const (
	DefaultHold          = 30 * time.Minute
	DefaultMostPerClient = 64
	DefaultMost          = 4096
	maxPins              = 65536
	sweepEvery           = time.Minute
)

// Options of New. Addresses are HOST:PORT as net.Listen takes them; an empty one
// leaves that service out.
type Options struct {
	Dir     string // the boot directory
	TFTP    string
	HTTP    string
	Metrics string // for /metrics and /healthz, away from the machines that boot

	Hold          time.Duration // how long a client keeps its generation after its last request; 0: not at all
	Drain         time.Duration // how long transfers may go on when the server is to stop
	MostPerClient int           // TFTP transfers, and HTTP connections, of one address; 0: DefaultMostPerClient
	Most          int           // of all addresses; 0: DefaultMost

	// Refresh brings the trees up to date, every Every, first at once; nil: nobody
	// does that here. Its error is told and waited out.
	Refresh func(context.Context) error
	Every   time.Duration

	Now  func() time.Time              // nil: time.Now
	Log  func(format string, a ...any) // a line for each request; text of clients is quoted; nil: none
	Warn func(format string, a ...any) // what an administrator should see to; nil: none
}

// Server serves one boot directory. It is made by New and used up by Run.
type Server struct {
	o     Options
	root  *root
	store *store
	meter *meter

	tftp        *tftp
	web         *web
	webListen   net.Listener
	adminListen net.Listener
	closers     []io.Closer

	mu     sync.Mutex
	warned map[string]bool
}

// New opens the boot directory and the sockets, so that privileges are needed
// no longer. Run or Close has to follow.
func New(o Options) (*Server, error) {
	o = withDefaults(o)
	s := &Server{o: o, meter: newMeter(), warned: map[string]bool{}}
	if err := s.open(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func withDefaults(o Options) Options {
	if o.MostPerClient <= 0 {
		o.MostPerClient = DefaultMostPerClient
	}
	if o.Most <= 0 {
		o.Most = DefaultMost
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	if o.Warn == nil {
		o.Warn = func(string, ...any) {}
	}
	return o
}

func (s *Server) open() (err error) {
	if s.root, err = openRoot(s.o.Dir); err != nil {
		return err
	}
	v := &view{dir: s.o.Dir}
	if _, err := v.current(); err != nil {
		return err
	}
	s.store = &store{root: s.root, view: v, pins: newPins(s.o.Hold, maxPins, v.hold, s.o.Now), warn: s.warnOnce}
	if s.o.TFTP != "" {
		conn, err := listenTFTP(s.o.TFTP)
		if err != nil {
			return fmt.Errorf("serve TFTP: %w", err)
		}
		s.closers = append(s.closers, conn)
		s.tftp = &tftp{
			store: s.store, limits: newLimits(s.o.MostPerClient, s.o.Most), meter: s.meter, log: s.o.Log,
			conn: conn, sessions: map[netip.AddrPort]*session{},
		}
	}
	if s.o.HTTP != "" {
		if s.webListen, err = net.Listen("tcp", s.o.HTTP); err != nil {
			return fmt.Errorf("serve HTTP: %w", err)
		}
		s.closers = append(s.closers, s.webListen)
		s.web = &web{
			store: s.store, limits: newLimits(s.o.MostPerClient, s.o.Most), meter: s.meter, log: s.o.Log, now: s.o.Now,
			open: map[net.Conn]netip.Addr{},
		}
	}
	if s.o.Metrics != "" {
		if s.adminListen, err = net.Listen("tcp", s.o.Metrics); err != nil {
			return fmt.Errorf("serve metrics: %w", err)
		}
		s.closers = append(s.closers, s.adminListen)
	}
	return nil
}

// Close releases what New opened. After Run there is nothing left to do.
func (s *Server) Close() {
	for _, c := range s.closers {
		_ = c.Close()
	}
	if s.store != nil {
		s.store.pins.close()
	}
	if s.root != nil {
		s.root.close()
		s.root = nil
	}
}

// TFTPAddr, HTTPAddr and MetricsAddr give where the server listens, nil for a
// service that was left out.
func (s *Server) TFTPAddr() net.Addr {
	if s.tftp == nil {
		return nil
	}
	return s.tftp.conn.LocalAddr()
}

// HTTPAddr is like TFTPAddr.
func (s *Server) HTTPAddr() net.Addr { return addrOf(s.webListen) }

// MetricsAddr is like TFTPAddr.
func (s *Server) MetricsAddr() net.Addr { return addrOf(s.adminListen) }

func addrOf(l net.Listener) net.Addr {
	if l == nil {
		return nil
	}
	return l.Addr()
}

// Run serves until the context ends. Then nothing new is begun, and what is being
// sent may go on for Options.Drain. The error tells why it ended before.
func (s *Server) Run(ctx context.Context) error {
	defer s.Close()
	g := drain.New(ctx)
	if s.tftp != nil {
		s.tftp.serve(g)
	}
	if s.web != nil {
		g.Serve(s.webListen, s.web.server())
	}
	if s.adminListen != nil {
		g.Serve(s.adminListen, s.admin(g))
	}
	g.Go(func() error { s.sweep(g.Context()); return nil })
	if s.o.Refresh != nil {
		g.Go(func() error { s.refresh(g.Context()); return nil })
	}
	return g.Wait(s.o.Drain)
}

// sweep lets go of generations that nobody needs any more.
func (s *Server) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.store.pins.sweep()
		}
	}
}

// refresh keeps the trees fresh.
func (s *Server) refresh(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		err := s.o.Refresh(ctx)
		if ctx.Err() != nil {
			return
		}
		s.meter.refreshed(err, s.o.Now())
		if err != nil {
			s.o.Warn("sync: %v; the trees stay as they are", err)
		}
		timer.Reset(s.o.Every)
	}
}

// warnOnce says a thing once, however many machines run into it.
func (s *Server) warnOnce(format string, a ...any) {
	line := fmt.Sprintf(format, a...)
	s.mu.Lock()
	known := s.warned[line]
	if len(s.warned) < 1000 {
		s.warned[line] = true
	}
	s.mu.Unlock()
	if !known {
		s.o.Warn("%s", line)
	}
}
