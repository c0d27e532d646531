package testserver

import (
	"net"
	"testing"
	"time"
)

// TestStart gives up where a program runs and does not serve, or takes connections
// and does not answer.
func TestStart(t *testing.T) {
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	none, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{none, mute.Addr().String()} {
		if stop, err := start("tail", []string{"-f", "/dev/null"}, "http://"+addr, time.Millisecond); err == nil {
			stop()
			t.Errorf("%s serves", addr)
		}
	}
}
