package serve

import (
	"errors"
	"net"
	"unsafe"

	"golang.org/x/sys/unix"
)

// wantDestination asks the kernel to tell to which of our addresses a packet was
// sent: the answer must come from there, or the client, and any firewall, drops it.
func wantDestination(c *net.UDPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var v4, v6 error
	err = raw.Control(func(fd uintptr) {
		v4 = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		v6 = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
	})
	if err == nil && v4 != nil && v6 != nil {
		err = errors.Join(v4, v6)
	}
	return err
}

// destination reads the address from what came beside a packet; nil: unknown.
func destination(control []byte) net.IP {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= unix.SizeofInet4Pktinfo:
			at := unsafe.Offsetof(unix.Inet4Pktinfo{}.Spec_dst) // not Addr, which may be a broadcast
			return usable(net.IP(m.Data[at : at+net.IPv4len]))
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= unix.SizeofInet6Pktinfo:
			return usable(net.IP(m.Data[:net.IPv6len]))
		}
	}
	return nil
}

func usable(ip net.IP) net.IP {
	if ip.IsUnspecified() || ip.IsMulticast() {
		return nil
	}
	return append(net.IP{}, ip...)
}
