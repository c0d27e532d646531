package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"
)

// realRegistry NAME: starts Debian's docker-registry and sets $NAME to its host
// and port.
func realRegistry(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: realregistry NAME")
	}
	host, stop, err := runRegistry(ts.MkAbs("registry-" + args[0]))
	ts.Check(err)
	ts.Defer(stop)
	ts.Setenv(args[0], host)
}

// runRegistry runs docker-registry, the reference implementation of the
// distribution protocol, with its storage below dir, until stop is called.
func runRegistry(dir string) (host string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	host = l.Addr().String()
	_ = l.Close()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, err
	}
	conf := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: %q}\n", filepath.Join(dir, "storage"), host)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return "", nil, err
	}
	var out bytes.Buffer
	cmd := exec.Command("docker-registry", "serve", conf)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	stop = func() { _ = cmd.Process.Kill(); <-ended }
	// It says nothing when it is ready, so it is asked until it answers.
	for {
		resp, err := http.Get("http://" + host + "/v2/")
		if err == nil {
			_ = resp.Body.Close()
			return host, stop, nil
		}
		select {
		case <-ended:
			return "", nil, fmt.Errorf("docker-registry does not run: %s", out.String())
		default:
		}
	}
}
