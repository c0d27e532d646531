package serve

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// How long a silent client is waited for. Without the timeout option the waits
// double, so that a lost packet costs little and a dead client gets few.
const (
	firstWait = time.Second
	longWait  = 8 * time.Second
	attempts  = 6
)

// errClient tells that a client ended the transfer. Firmware that only wants to
// know the size does that.
type errClient struct {
	code uint16
	text string
}

func (e *errClient) Error() string {
	return fmt.Sprintf("the client ended it: code %d, %q", e.code, e.text)
}

// errSilent tells that a client does not answer any more.
var errSilent = errors.New("the client does not answer")

// transfer sends one file to one client: RFC 1350, and RFC 7440 for windows. A block
// that is sent again is read again, so memory does not grow with the window.
type transfer struct {
	conn    net.Conn // to this client alone
	request *request
	content io.ReaderAt
	size    int64
	sent    func(bytes int64) // told of progress

	packet  []byte // the block being sent
	buffer  []byte // a piece of the content
	start   int64  // where the piece begins
	receive []byte
}

// pieceSize is how much is read from the disk at once.
const pieceSize = 64 << 10

// run sends everything. The context ends it at any time.
func (t *transfer) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = t.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	t.packet = make([]byte, 4+t.request.block)
	t.receive = make([]byte, 516)
	if oack := t.request.acknowledge(t.size); oack != nil {
		send := func() error { return t.write(oack) }
		if _, err := t.exchange(ctx, 0, 0, send); err != nil {
			return err
		}
	}
	// The last block is shorter than the others, and empty if need be.
	blocks := t.size/int64(t.request.block) + 1
	for done := int64(0); done < blocks; {
		last := min(done+int64(t.request.window), blocks)
		next, err := t.exchange(ctx, done, last, func() error { return t.window(done, last) })
		if err != nil {
			return err
		}
		if t.sent != nil {
			t.sent(min(next*int64(t.request.block), t.size) - done*int64(t.request.block))
		}
		done = next
	}
	return nil
}

// exchange sends with send and waits until the client acknowledges one of the
// blocks after done and up to last, and gives that; with done == last it is the
// acknowledgement of done that counts. It sends again when nothing comes. An acknowledgement
// of done itself is not answered where one block is sent at a time, or two clients
// of two minds would double each packet for ever (RFC 1123); in a window it tells
// that the first block was lost, and counts once.
func (t *transfer) exchange(ctx context.Context, done, last int64, send func() error) (int64, error) {
	wait, fixed := firstWait, false
	if t.request.timeout > 0 {
		wait, fixed = t.request.timeout, true
	}
	for range attempts {
		hurried := false
		if err := send(); err != nil {
			return 0, cause(ctx, err)
		}
		deadline := time.Now().Add(wait)
		for {
			a, err := t.listen(ctx, deadline)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return 0, err
			}
			block := done + int64(a.block-uint16(done)) // modulo 2^16: numbers go round
			if block <= last && (block > done || done == last) {
				return block, nil
			}
			if block == done && t.request.window > 1 && !hurried {
				hurried = true
				if err := send(); err != nil {
					return 0, cause(ctx, err)
				}
			}
		}
		if !fixed {
			wait = min(2*wait, longWait)
		}
	}
	return 0, errSilent
}

// listen gives the next acknowledgement.
func (t *transfer) listen(ctx context.Context, deadline time.Time) (answer, error) {
	if err := t.conn.SetReadDeadline(deadline); err != nil {
		return answer{}, err
	}
	for {
		// After the deadline was set: the end of the context would be overwritten.
		if ctx.Err() != nil {
			return answer{}, ctx.Err()
		}
		n, err := t.conn.Read(t.receive)
		if err != nil {
			return answer{}, cause(ctx, err)
		}
		a, ok := parseAnswer(t.receive[:n])
		if ok && !a.ack {
			return answer{}, &errClient{a.code, a.text}
		}
		if ok {
			return a, nil
		}
	}
}

// cause says why a call on the connection failed.
func cause(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, syscall.ECONNREFUSED):
		return errSilent // its port is closed: it has gone away
	}
	return err
}

// window sends the blocks after done, up to last.
func (t *transfer) window(done, last int64) error {
	for block := done + 1; block <= last; block++ {
		n, err := t.fill((block - 1) * int64(t.request.block))
		if err != nil {
			return err
		}
		binary.BigEndian.PutUint16(t.packet, opData)
		binary.BigEndian.PutUint16(t.packet[2:], uint16(block))
		if err := t.write(t.packet[:4+n]); err != nil {
			return err
		}
	}
	return nil
}

// write sends a packet. That the kernel has no room for it is as good as a packet
// lost on the way, and mended like that.
func (t *transfer) write(p []byte) error {
	_, err := t.conn.Write(p)
	if errors.Is(err, syscall.ENOBUFS) {
		return nil
	}
	return err
}

// fill puts the block at this offset into the packet.
func (t *transfer) fill(at int64) (int, error) {
	want := int(min(int64(t.request.block), t.size-at))
	if at < t.start || at+int64(want) > t.start+int64(len(t.buffer)) {
		if t.buffer == nil {
			t.buffer = make([]byte, 0, min(t.size, int64(max(pieceSize, t.request.block))))
		}
		piece := min(int64(cap(t.buffer)), t.size-at)
		t.start, t.buffer = at, t.buffer[:piece]
		if n, err := t.content.ReadAt(t.buffer, at); n < len(t.buffer) {
			t.buffer = t.buffer[:0]
			return 0, fmt.Errorf("the file became shorter: %w", err)
		}
	}
	return copy(t.packet[4:4+want], t.buffer[at-t.start:]), nil
}
