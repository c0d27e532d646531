// Package drain runs the parts of a server and ends them politely: at first nothing new
// is begun, what goes on may go on for a while, and then it is cut. Nothing that was
// started is left in the end, so that what it used can be closed.
package drain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// Default is how long what goes on may go on where nobody says another time.
const Default = 30 * time.Second

// Group is the parts of one server. It is made by New, filled by Go and Serve, and used
// up by Wait.
type Group struct {
	ctx, transfers context.Context
	stop, cut      context.CancelFunc

	running  sync.WaitGroup // parts, and connections
	handlers sync.RWMutex   // read by those that answer; Wait keeps it
	servers  []*http.Server

	mu  sync.Mutex
	err error
}

// New gives a group that is to end with ctx, or when a part of it fails. Wait has to
// follow.
func New(ctx context.Context) *Group {
	g := &Group{}
	g.ctx, g.stop = context.WithCancel(ctx)
	g.transfers, g.cut = context.WithCancel(context.WithoutCancel(ctx))
	return g
}

// Context ends when nothing new is to be begun.
func (g *Group) Context() context.Context { return g.ctx }

// Transfers ends when what goes on is cut.
func (g *Group) Transfers() context.Context { return g.transfers }

// Go runs a part, which has to end with Context, or with Transfers if somebody waits for
// what it does. Its error ends the group. Parts may start further ones.
func (g *Group) Go(part func() error) {
	g.running.Go(func() {
		if err := part(); err != nil {
			g.mu.Lock()
			defer g.mu.Unlock()
			if g.err == nil {
				g.err = err
			}
			g.stop()
		}
	})
}

// Serve runs a web server, and takes over its Handler, ConnState, which is still called,
// and ErrorLog: clients cause all that it would have to say. It is for those who fill the
// group, before Wait.
func (g *Group) Serve(l net.Listener, h *http.Server) {
	h.Handler, h.ConnState = g.answering(h.Handler), g.joined(h.ConnState)
	h.ErrorLog = log.New(io.Discard, "", 0)
	g.servers = append(g.servers, h)
	g.Go(func() error {
		if err := h.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		<-g.ctx.Done()
		_ = h.Shutdown(g.transfers) // Wait closes what is left by then
		return nil
	})
}

// joined counts the goroutines of connections: Close of net/http does not wait for them.
// Serve of net/http makes each connection known before it returns, so nothing is added to
// a group that is waited for. One that it accepted while the server was closed is closed
// here.
func (g *Group) joined(next func(net.Conn, http.ConnState)) func(net.Conn, http.ConnState) {
	return func(c net.Conn, state http.ConnState) {
		if state == http.StateNew {
			g.running.Add(1)
			if g.transfers.Err() != nil {
				_ = c.Close()
			}
		}
		if next != nil {
			next(c, state)
		}
		if state == http.StateClosed {
			g.running.Done()
		}
	}
}

// answering lets Wait wait for the handlers of HTTP/2, too, which are no goroutines of
// their connections and can outlive these.
func (g *Group) answering(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.handlers.TryRLock() {
			panic(http.ErrAbortHandler)
		}
		defer g.handlers.RUnlock()
		next.ServeHTTP(w, r)
	})
}

// Health answers what monitors ask: whether the server is there for clients. It is not
// when it is to end, or when check gives an error.
func (g *Group) Health(check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		err := check()
		if g.ctx.Err() != nil {
			err = errors.New("stopping")
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	}
}

// Wait waits for the end of the group, and until nothing of it runs any more; what goes
// on is cut patience later. The error is that of the first part that failed.
func (g *Group) Wait(patience time.Duration) error {
	<-g.ctx.Done()
	done := make(chan struct{})
	var cutter sync.WaitGroup
	cutter.Go(func() {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-done:
		}
		g.cut()
		for _, h := range g.servers {
			_ = h.Close()
		}
	})
	g.running.Wait()
	close(done)
	cutter.Wait()
	g.handlers.Lock() // for ever: nobody is answered any more
	g.stop()
	return g.err
}
