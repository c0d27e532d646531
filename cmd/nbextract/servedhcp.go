package main

import (
	"net"
	"net/netip"
	"strconv"

	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/serve"
)

// printDHCP prints what a DHCP server is to be told.
func (s *serveFlags) printDHCP(env *cli.Env) error {
	o := serve.DHCPOptions{Dir: s.o.Dir, Tree: s.tree}
	var err error
	if o.TFTP, err = portOf("--tftp", s.o.TFTP); err != nil {
		return err
	}
	if o.HTTP, err = portOf("--http", s.o.HTTP); err != nil {
		return err
	}
	if o.Server, err = s.address(); err != nil {
		return err
	}
	return serve.DHCP(env.Stdout, s.dhcp, o)
}

func portOf(flag, addr string) (int, error) {
	if addr == "" {
		return 0, nil
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return 0, cli.Usage("%s %q: %w", flag, addr, err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return 0, cli.Usage("%s %q: a DHCP server needs the number of the port", flag, addr)
	}
	return int(n), nil
}

// address is where machines find this host: what the user says, the address that
// TFTP listens at, or the first one that leads to other hosts.
func (s *serveFlags) address() (netip.Addr, error) {
	if s.advertise != "" {
		a, err := netip.ParseAddr(s.advertise)
		if err != nil || !a.Is4() {
			return netip.Addr{}, cli.Usage("--advertise is an IPv4 address, not %q", s.advertise)
		}
		return a, nil
	}
	for _, listen := range []string{s.o.TFTP, s.o.HTTP} {
		if ap, err := netip.ParseAddrPort(listen); err == nil && !ap.Addr().IsUnspecified() && ap.Addr().Is4() {
			return ap.Addr(), nil
		}
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Addr{}, err
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && p.Addr().IsGlobalUnicast() {
			return p.Addr(), nil
		}
	}
	return netip.Addr{}, cli.WithHint(cli.Usage("this host has no address that others could reach"), "name one with --advertise")
}
