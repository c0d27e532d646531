package serve

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/nbpack/nbpack/internal/drain"
)

// tftp answers read requests. Each transfer has a socket and a goroutine of its own,
// so none waits for another.
type tftp struct {
	store  *store
	limits *limits
	meter  *meter
	log    func(format string, a ...any)

	conn *net.UDPConn

	mu       sync.Mutex
	sessions map[netip.AddrPort]*session
}

// session is one transfer, known by the address and port of its client.
type session struct {
	packet []byte // the request, to know a repetition
	cancel context.CancelFunc
	begun  bool // the client has answered
}

// listenTFTP opens the well-known port.
func listenTFTP(addr string) (*net.UDPConn, error) {
	c, err := (&net.ListenConfig{}).ListenPacket(context.Background(), "udp", addr)
	if err != nil {
		return nil, err
	}
	conn := c.(*net.UDPConn)
	if err := wantDestination(conn); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// serve takes requests until nothing new is to be begun.
func (s *tftp) serve(g *drain.Group) {
	g.Go(func() error { return s.requests(g) })
	g.Go(func() error {
		<-g.Context().Done()
		_ = s.conn.Close()
		return nil
	})
}

// requests begins transfers until the socket is closed.
func (s *tftp) requests(g *drain.Group) error {
	packet := make([]byte, maxRequest+1)
	control := make([]byte, 256)
	for {
		n, c, _, client, err := s.conn.ReadMsgUDPAddrPort(packet, control)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) {
				continue // an answer could not be delivered: that is the client's affair
			}
			return err
		}
		s.request(g, packet[:n], client, destination(control[:c]))
	}
}

// request begins a transfer. It never waits for a client or a disk.
func (s *tftp) request(g *drain.Group, packet []byte, client netip.AddrPort, local net.IP) {
	r, err := parseRequest(packet)
	if errors.Is(err, errNoRequest) {
		return
	}
	var refusal *errRequest
	if errors.As(err, &refusal) {
		s.meter.refused("tftp", "request")
		s.refuse(client, local, refusal)
		return
	}
	addr := plainAddr(client.Addr())
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.sessions[client]; old != nil {
		if !old.begun && bytes.Equal(old.packet, packet) {
			return // our first answer is on its way, or is sent again in time
		}
		old.cancel() // the client has begun anew from the same port
	}
	if why := s.limits.enter(addr); why != "" {
		s.meter.refused("tftp", why)
		s.log("tftp %s: refused %q: too many transfers (%s)", addr, r.name, why)
		s.refuse(client, local, &errRequest{codeOther, "too many transfers, try again"})
		return
	}
	ctx, cancel := context.WithCancel(g.Transfers())
	now := &session{packet: bytes.Clone(packet), cancel: cancel}
	s.sessions[client] = now
	g.Go(func() error {
		defer s.limits.leave(addr)
		defer s.forget(client, now)
		s.transfer(ctx, r, client, local, now)
		return nil
	})
}

func (s *tftp) forget(client netip.AddrPort, old *session) {
	old.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions[client] == old {
		delete(s.sessions, client)
	}
}

// refuse answers without a transfer.
func (s *tftp) refuse(client netip.AddrPort, local net.IP, e *errRequest) {
	conn, err := dialBack(client, local)
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = conn.Write(errorPacket(e)) // whoever does not hear it asks again
}

// dialBack opens the socket of a transfer: a new port at the address that the
// client has asked, connected, so that the kernel drops what strangers send.
func dialBack(client netip.AddrPort, local net.IP) (*net.UDPConn, error) {
	to := net.UDPAddrFromAddrPort(client)
	conn, err := net.DialUDP("udp", &net.UDPAddr{IP: local, Zone: to.Zone}, to)
	if err != nil && local != nil {
		conn, err = net.DialUDP("udp", nil, to) // asked by broadcast
	}
	return conn, err
}

// transfer sends a file, or says why not.
func (s *tftp) transfer(ctx context.Context, r *request, client netip.AddrPort, local net.IP, now *session) {
	started := time.Now()
	addr := plainAddr(client.Addr())
	conn, err := dialBack(client, local)
	if err != nil {
		s.meter.done("tftp", failed, 0)
		s.log("tftp %s: %v", addr, err)
		return
	}
	defer conn.Close()
	f, content, size, err := s.file(addr, r)
	if err != nil {
		refusal := refusalOf(err)
		s.meter.done("tftp", outcomeOf(err), 0)
		s.log("tftp %s: %q: %s", addr, r.name, refusal.text)
		_, _ = conn.Write(errorPacket(refusal))
		return
	}
	defer f.Close()
	var bytes int64
	t := &transfer{conn: &starting{UDPConn: conn, s: s, session: now}, request: r, content: content, size: size, sent: func(n int64) {
		bytes += n
		s.meter.bytes("tftp", n)
	}}
	s.meter.begin("tftp")
	err = t.run(ctx)
	s.meter.end("tftp")
	var byClient *errClient
	switch {
	case err == nil:
		s.meter.done("tftp", complete, 0)
		s.log("tftp %s: sent %q, %d bytes in %s%s", addr, r.name, size, since(started), ofGeneration(f))
	case errors.As(err, &byClient):
		s.meter.done("tftp", aborted, 0)
		s.log("tftp %s: %q after %d bytes: %v", addr, r.name, bytes, byClient)
	case ctx.Err() != nil:
		s.meter.done("tftp", aborted, 0)
		_, _ = conn.Write(errorPacket(&errRequest{codeOther, "the server stops"}))
		s.log("tftp %s: %q after %d bytes: stopped", addr, r.name, bytes)
	default:
		s.meter.done("tftp", failed, 0)
		_, _ = conn.Write(errorPacket(&errRequest{codeOther, "the transfer failed"}))
		s.log("tftp %s: %q after %d bytes: %v", addr, r.name, bytes, err)
	}
}

// file opens what a request names.
func (s *tftp) file(client netip.Addr, r *request) (*file, io.ReaderAt, int64, error) {
	f, err := s.store.open(client, r.name, true)
	if err != nil {
		return nil, nil, 0, err
	}
	if f.info.IsDir() {
		f.Close()
		return nil, nil, 0, fs.ErrNotExist
	}
	if !r.text {
		return f, f.File, f.info.Size(), nil
	}
	text, err := netascii(f.File, f.info.Size())
	if err != nil {
		f.Close()
		return nil, nil, 0, err
	}
	return f, text, text.Size(), nil
}

// refusalOf is what a client is told; it learns nothing about the disk.
func refusalOf(err error) *errRequest {
	var refusal *errRequest
	switch {
	case errors.As(err, &refusal):
		return refusal
	case errors.Is(err, fs.ErrNotExist):
		return &errRequest{codeNotFound, "file not found"}
	case errors.Is(err, fs.ErrPermission):
		return &errRequest{codeDenied, "the server may not read it"}
	}
	return &errRequest{codeOther, "the file cannot be read"}
}

// starting notes the first answer of a client: the same request again is then a
// new one.
type starting struct {
	*net.UDPConn
	s       *tftp
	session *session
	noted   bool
}

func (c *starting) Read(p []byte) (int, error) {
	n, err := c.UDPConn.Read(p)
	if err == nil && !c.noted {
		c.noted = true
		c.s.mu.Lock()
		c.session.begun = true
		c.s.mu.Unlock()
	}
	return n, err
}

// plainAddr is the address without the forms that sockets give it.
func plainAddr(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }
