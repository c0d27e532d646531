//go:build linux

package serve

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

// tftpClient is a client as the RFCs describe it, written from them and not from
// the server. Its knobs make it lose, repeat and be slow.
type tftpClient struct {
	server *net.UDPAddr
	from   string // local address; empty: any
	mode   string // empty: octet

	options [][2]string // sent, in this order
	oack    map[string]string
	order   []string // of the options granted

	// dropData and dropAck tell which packets are lost, by their count from 0.
	dropData, dropAck func(n int) bool
	doubleAck         bool // the sorcerer's apprentice
	wait              time.Duration
	packets           int // data packets that arrived, lost ones included
}

type tftpError struct {
	code uint16
	text string
}

func (e *tftpError) Error() string { return fmt.Sprintf("tftp error %d: %s", e.code, e.text) }

func (c *tftpClient) request(name string) []byte {
	mode := c.mode
	if mode == "" {
		mode = "octet"
	}
	p := append([]byte{0, 1}, name+"\x00"+mode+"\x00"...)
	for _, o := range c.options {
		p = append(p, o[0]+"\x00"+o[1]+"\x00"...)
	}
	return p
}

// dial opens the client's port.
func (c *tftpClient) dial() (*net.UDPConn, error) {
	return net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(c.from)})
}

// get fetches a file into w.
func (c *tftpClient) get(name string, w io.Writer) error {
	conn, err := c.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	if c.wait == 0 {
		c.wait = 5 * time.Second
	}
	var last []byte
	var peer *net.UDPAddr
	send := func(p []byte) error {
		last = p
		to := peer
		if to == nil {
			to = c.server
		}
		_, err := conn.WriteToUDP(p, to)
		return err
	}
	if err := send(c.request(name)); err != nil {
		return err
	}
	block, window := 512, 1
	var have int64 // blocks in order
	inWindow, acks := 0, 0
	var previous uint16 // block that came before
	complained := false // of a gap, since a block was in order
	ack := func() error {
		inWindow = 0
		p := binary.BigEndian.AppendUint16([]byte{0, 4}, uint16(have))
		n := acks
		acks++
		if c.dropAck != nil && c.dropAck(n) {
			last = p
			return nil
		}
		if err := send(p); err != nil || !c.doubleAck {
			return err
		}
		return send(p)
	}
	buf := make([]byte, 70000)
	for tries := 0; ; {
		_ = conn.SetReadDeadline(time.Now().Add(c.wait))
		n, from, err := conn.ReadFromUDP(buf)
		var late net.Error
		if errors.As(err, &late) && late.Timeout() {
			if tries++; tries > 5 {
				return errors.New("the server does not answer")
			}
			if err := send(last); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if peer == nil {
			if !from.IP.Equal(c.server.IP) {
				return fmt.Errorf("answer from %s, asked %s", from, c.server)
			}
			peer = from
		}
		if !from.IP.Equal(peer.IP) || from.Port != peer.Port || n < 4 {
			continue
		}
		tries = 0
		switch p := buf[:n]; binary.BigEndian.Uint16(p) {
		case 5:
			text, _, _ := bytes.Cut(p[4:], []byte{0})
			return &tftpError{binary.BigEndian.Uint16(p[2:]), string(text)}
		case 6:
			if have > 0 {
				continue
			}
			if err := c.granted(p[2:]); err != nil {
				return err
			}
			if v := c.oack["blksize"]; v != "" {
				block, _ = strconv.Atoi(v)
			}
			if v := c.oack["windowsize"]; v != "" {
				window, _ = strconv.Atoi(v)
			}
			if err := ack(); err != nil {
				return err
			}
		case 3:
			count := c.packets
			c.packets++
			if c.dropData != nil && c.dropData(count) {
				continue
			}
			inWindow++
			number := binary.BigEndian.Uint16(p[2:])
			again := int16(number-previous) <= 0
			previous = number
			if number != uint16(have+1) {
				// Out of order: RFC 7440 wants the last good one acknowledged, once a window.
				// A window that begins anew is another one. Without that its end, where it is
				// too much for this socket, would be lost each time.
				if window == 1 || !complained || again {
					complained = true
					if err := ack(); err != nil {
						return err
					}
				}
				continue
			}
			have++
			complained = false
			if _, err := w.Write(p[4:]); err != nil {
				return err
			}
			end := len(p)-4 < block
			if end || inWindow >= window {
				if err := ack(); err != nil {
					return err
				}
			}
			if end {
				return nil
			}
		}
	}
}

func (c *tftpClient) granted(p []byte) error {
	c.oack, c.order = map[string]string{}, nil
	fields := bytes.Split(p, []byte{0})
	if len(fields)%2 != 1 || len(fields[len(fields)-1]) != 0 {
		return fmt.Errorf("malformed OACK %q", p)
	}
	for i := 0; i+1 < len(fields); i += 2 {
		c.oack[string(fields[i])] = string(fields[i+1])
		c.order = append(c.order, string(fields[i]))
	}
	return nil
}

// fetch gives a file as a string.
func (c *tftpClient) fetch(t testing.TB, name string) (string, error) {
	t.Helper()
	var b bytes.Buffer
	err := c.get(name, &b)
	return b.String(), err
}

// running is a server of a test.
type running struct {
	*Server
	t      testing.TB
	cancel context.CancelFunc
	done   chan error
	warns  atomic.Int32
}

// start serves dir on free ports until the test ends.
func start(t testing.TB, o Options) *running {
	t.Helper()
	r := &running{t: t, done: make(chan error, 1)}
	if o.TFTP == "" {
		o.TFTP = "127.0.0.1:0"
	}
	if o.HTTP == "" {
		o.HTTP = "127.0.0.1:0"
	}
	if o.Hold == 0 {
		o.Hold = DefaultHold
	}
	if o.Drain == 0 {
		o.Drain = time.Minute
	}
	if o.Warn == nil {
		o.Warn = func(format string, a ...any) { r.warns.Add(1); t.Logf("warning: "+format, a...) }
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	r.Server = s
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go func() { r.done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err, ok := <-r.done; ok && err != nil {
			t.Errorf("the server ended: %v", err)
		}
	})
	return r
}

// stop asks the server to end and waits for it.
func (r *running) stop() {
	r.t.Helper()
	r.cancel()
	if err := <-r.done; err != nil {
		r.t.Errorf("the server ended: %v", err)
	}
	close(r.done)
}

func (r *running) client(from string, options ...string) *tftpClient {
	c := &tftpClient{server: r.TFTPAddr().(*net.UDPAddr), from: from}
	for i := 0; i < len(options); i += 2 {
		c.options = append(c.options, [2]string{options[i], options[i+1]})
	}
	return c
}
