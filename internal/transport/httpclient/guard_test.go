package httpclient

import (
	"net/netip"
	"net/url"
	"testing"
)

func TestPublic(t *testing.T) {
	for addr, want := range map[string]bool{
		"8.8.8.8": true, "192.0.2.1": true, "2600::1": true, "::ffff:8.8.8.8": true,
		"127.0.0.1": false, "::1": false, "::ffff:127.0.0.1": false, "10.1.2.3": false, "172.16.0.1": false,
		"192.168.0.1": false, "169.254.169.254": false, "100.64.0.1": false, "0.0.0.0": false, "0.1.2.3": false,
		"224.0.0.1": false, "255.255.255.255": false, "198.18.0.1": false, "fe80::1": false, "fe80::1%eth0": false,
		"fc00::1": false, "fec0::1": false, "ff02::1": false, "::": false, "2002:7f00:1::": false,
		// An IPv4 address behind the NAT64 of a site.
		"64:ff9b::8.8.8.8": true, "64:ff9b::127.0.0.1": false, "64:ff9b::10.1.2.3": false, "64:ff9b::169.254.169.254": false,
		"64:ff9b::100.64.0.1": false, "64:ff9b::0.0.0.0": false, "64:ff9b:1::8.8.8.8": false,
	} {
		if got := public(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
}

func TestGuard(t *testing.T) {
	for _, tt := range []struct {
		g    Guard
		url  string
		want bool
	}{
		{Guard{}, "https://cdn.example/x", true},
		{Guard{}, "https://8.8.8.8/x", true},
		{Guard{}, "http://127.0.0.1/x", false},
		{Guard{}, "http://[::1]:80/x", false},
		{Guard{}, "http://169.254.169.254/latest", false},
		{Guard{}, "ftp://cdn.example/x", false},
		{Guard{}, "file:///etc/passwd", false},
		{Guard{}, "https://user@cdn.example/x", false},
		{Guard{Local: true}, "http://127.0.0.1/x", true},
		{Guard{Named: []string{"127.0.0.1:8080"}}, "http://127.0.0.1:8080/x", true},
		{Guard{Named: []string{"127.0.0.1:8080"}}, "http://127.0.0.1:22/x", false},
		{Guard{Hosts: []string{}}, "https://cdn.example/x", false},
		{Guard{Hosts: []string{"cdn.example"}}, "https://CDN.example/x", true},
		{Guard{Hosts: []string{"cdn.example"}}, "https://cdn.example:443/x", true},
		{Guard{Hosts: []string{"cdn.example:443"}}, "https://cdn.example/x", true},
		{Guard{Hosts: []string{"cdn.example"}}, "https://cdn.example:8443/x", false},
		{Guard{Hosts: []string{"cdn.example"}}, "https://a.cdn.example/x", false},
		{Guard{Hosts: []string{"cdn.example"}}, "https://cdn.example.evil.example/x", false},
		{Guard{Hosts: []string{"127.0.0.1"}}, "http://127.0.0.1/x", false},
	} {
		u, err := url.Parse(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		if got := tt.g.Admits(u); (got == nil) != tt.want {
			t.Errorf("%+v, %s: %v", tt.g, tt.url, got)
		}
	}
}
