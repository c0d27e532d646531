package httpclient

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Guard bounds where a request may go that was not made for the registry itself:
// to a mirror, or to an address that an image names. An image, or a mirror that
// redirects, must not choose what this machine connects to inside its network.
type Guard struct {
	Hosts []string // "host[:port]" of every hop; nil: any
	Named []string // those that may have private addresses, because the user named them
	Local bool     // all may
}

// Admits tells whether a URL may be asked, as far as its text tells that. The address
// of a name is looked at when the connection is made.
func (g *Guard) Admits(u *url.URL) error {
	if u.Scheme != "https" && u.Scheme != "http" || u.User != nil {
		return Refuse("refused to ask %q: neither https nor http", u.Scheme+"://"+u.Host)
	}
	if g.Hosts != nil && !Lists(g.Hosts, u) {
		return Refuse("refused to ask %q: it is not among the allowed hosts", u.Host)
	}
	// Behind a proxy nobody sees the address of a name.
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil && !g.mayBePrivate(u) && !public(addr) {
		return refusePrivate(u.Host, addr)
	}
	return nil
}

func (g *Guard) mayBePrivate(u *url.URL) bool { return g.Local || Lists(g.Named, u) }

func refusePrivate(host string, addr netip.Addr) error {
	return &privateError{Refuse("refused to ask %q: its address %s is not a public one", host, addr)}
}

// privateError is a refusal that knows the way out.
type privateError struct{ error }

// Unwrap gives the refusal.
func (e *privateError) Unwrap() error { return e.error }

// Hint names the flag.
func (e *privateError) Hint() string {
	return "--allow-private-hosts lets image URLs and redirects lead to private addresses"
}

// Lists tells whether a URL leads to one of a list of hosts: "host", which means the
// usual port, or "host:port".
func Lists(list []string, u *url.URL) bool {
	usual := u.Port() == "" || u.Port() == "443" && u.Scheme == "https" || u.Port() == "80" && u.Scheme == "http"
	return slices.ContainsFunc(list, func(h string) bool {
		return strings.EqualFold(h, u.Host) || usual && strings.EqualFold(h, u.Hostname()) ||
			strings.EqualFold(h, net.JoinHostPort(u.Hostname(), port(u)))
	})
}

// public tells addresses of the whole internet from those of a machine or a site.
func public(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if nat64 := netip.MustParsePrefix("64:ff9b::/96"); nat64.Contains(addr) {
		// Sites without IPv4 reach the IPv4 internet by it (RFC 6052): what counts is
		// the address that it carries.
		b := addr.As16()
		addr = netip.AddrFrom4([4]byte(b[12:]))
	}
	if !addr.IsGlobalUnicast() || addr.IsPrivate() {
		return false
	}
	for _, p := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "198.18.0.0/15", "240.0.0.0/4", // RFC 6890
		"64:ff9b:1::/48", "2002::/16", "2001::/32", // they carry an IPv4 address
		"fec0::/10",
	} {
		if netip.MustParsePrefix(p).Contains(addr) {
			return false
		}
	}
	return true
}

const (
	dialTime = 30 * time.Second
	// mirrorDialTime is shorter, since another place has the content.
	mirrorDialTime = 10 * time.Second
)

// dial makes the connections for a host. The check is of the address that is
// connected to, not of one that was looked up before: names can change.
func dial(k connKey) func(ctx context.Context, network, addr string) (net.Conn, error) {
	plain := &net.Dialer{Timeout: dialTime, KeepAlive: 30 * time.Second}
	if !k.guarded {
		return plain.DialContext
	}
	plain.Timeout = mirrorDialTime
	guarded := *plain
	guarded.Control = func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil || !public(at.Addr()) {
			return refusePrivate(k.host, at.Addr())
		}
		return nil
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, _, _ := net.SplitHostPort(addr)
		if own := (&url.URL{Host: k.host}).Hostname(); k.private || !strings.EqualFold(host, own) {
			return plain.DialContext(ctx, network, addr) // also to the site's proxy
		}
		return guarded.DialContext(ctx, network, addr)
	}
}
