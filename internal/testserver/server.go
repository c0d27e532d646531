// Package testserver runs the real servers that tests work against, docker-registry,
// nginx, Apache and Caddy, on 127.0.0.1 and free ports, until the test ends.
package testserver

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// maxStarts is how many ports are tried: between the choice of a free one and the
// start of the server another process may take it.
const maxStarts = 5

const (
	// maxWait is how long a server may take to start, and for its first answer.
	maxWait = time.Minute
	// pause is between two questions whether it is there.
	pause = 10 * time.Millisecond
)

// run starts a server with the configuration that config writes for an address
// (HOST:PORT) and the arguments for that file, and waits until it answers HTTP at
// path. The server is killed and waited for by stop.
func run(dir, name, path string, config func(addr string) string, args func(conf string) []string) (addr string, stop func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, err
	}
	conf := filepath.Join(dir, name+".conf")
	for range maxStarts {
		if addr, err = freeAddress(); err != nil {
			return "", nil, err
		}
		if err := os.WriteFile(conf, []byte(config(addr)), 0o600); err != nil {
			return "", nil, err
		}
		if stop, err = start(name, args(conf), "http://"+addr+path, maxWait); err == nil {
			return addr, stop, nil
		}
	}
	return "", nil, err
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func start(name string, args []string, url string, wait time.Duration) (stop func(), err error) {
	var output bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	stop = func() { _ = cmd.Process.Kill(); <-ended }
	// It says nothing when it is ready, so it is asked until it answers.
	client, late := &http.Client{Timeout: wait}, time.After(wait)
	for {
		resp, err := client.Get(url)
		if err == nil {
			_ = resp.Body.Close()
			return stop, nil
		}
		if op := (*net.OpError)(nil); !errors.As(err, &op) {
			stop()
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		select {
		case <-ended:
			return nil, fmt.Errorf("%s does not run: %s", name, output.String())
		case <-late:
			stop()
			return nil, fmt.Errorf("%s takes no connections after %s: %s", name, wait, output.String())
		case <-time.After(pause):
		}
	}
}
