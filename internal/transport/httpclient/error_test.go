package httpclient

import (
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
)

func TestTransferHints(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: fmt.Errorf("connect: %w", syscall.ECONNREFUSED)}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{refused, "check host and port; plain http is tried with --tls-verify=false only"},
		{&net.DNSError{Err: "no such host", IsNotFound: true}, "check the name of the host"},
		{&net.DNSError{Err: "server misbehaving", IsTemporary: true}, ""},
	} {
		got := (&TransferError{"HEAD", "https://registry.example/v2/", tt.err}).Hint()
		if !strings.HasSuffix(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%v: hint %q", tt.err, got)
		}
	}
}
