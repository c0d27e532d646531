package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/testserver"
)

// stand is where everything is measured: a registry, the proxy that counts before
// it, an rsync daemon, and the trees.
type stand struct {
	env    *cli.Env
	opts   options
	dir    string
	proxy  *proxy
	host   string // of the proxy, or in timed rounds of the registry
	rsync  string // of the daemon; empty where there is none
	trees  []string
	closes []func()
}

func newStand(ctx context.Context, env *cli.Env, o options, dir string) (_ *stand, err error) {
	s := &stand{env: env, opts: o, dir: dir}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.opts.bin, err = absolute(o.bin); err != nil {
		return nil, err
	}
	registry, stop, err := testserver.RunRegistry(filepath.Join(dir, "registry"), "")
	if err != nil {
		return nil, err
	}
	s.closes = append(s.closes, stop)
	if err := s.startProxy(registry); err != nil {
		return nil, err
	}
	if s.trees, err = makeTrees(filepath.Join(dir, "trees"), o); err != nil {
		return nil, err
	}
	return s, s.startRsync(ctx)
}

func (s *stand) close() {
	for i := len(s.closes) - 1; i >= 0; i-- {
		s.closes[i]()
	}
}

// startRsync lets a daemon give out all trees, where rsync is installed.
func (s *stand) startRsync(ctx context.Context) error {
	if _, err := exec.LookPath("rsync"); err != nil {
		return nil
	}
	addr, err := freeAddress()
	if err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(addr)
	conf := filepath.Join(s.dir, "rsyncd.conf")
	text := fmt.Sprintf("use chroot = no\nuid = %d\ngid = %d\n[trees]\npath = %s\n", os.Getuid(), os.Getgid(), filepath.Join(s.dir, "trees"))
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return err
	}
	s.rsync = addr
	return s.serve(ctx, addr, "rsync", "--daemon", "--no-detach", "--address=127.0.0.1", "--port="+port, "--config="+conf)
}

// serve runs a server until close is called, and returns when it takes connections.
func (s *stand) serve(ctx context.Context, addr, name string, args ...string) error {
	var output bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	s.closes = append(s.closes, func() { _ = cmd.Process.Kill(); <-ended })
	for {
		select {
		case <-ended:
			return fmt.Errorf("%s does not start: %s", name, output.String())
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
		if conn, err := net.Dial("tcp", addr); err == nil {
			return conn.Close()
		}
	}
}

// rounds are numbered from 0. In round 0 every tool goes by the proxy, which counts. In
// the others none does, and they are timed: the proxy, too, would want the processors
// that the tools are measured on.
func (s *stand) rounds() iter.Seq[int] {
	return func(yield func(int) bool) {
		counting := s.host
		defer func() { s.host = counting }()
		for round := range 1 + s.opts.rounds {
			if round > 0 {
				s.host = s.proxy.registry
			}
			if !yield(round) {
				return
			}
		}
	}
}

func (s *stand) startProxy(registry string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.proxy, s.host = newProxy(registry), l.Addr().String()
	server := &http.Server{Handler: s.proxy, ReadHeaderTimeout: time.Minute}
	ended := make(chan struct{})
	go func() { _ = server.Serve(l); close(ended) }()
	s.closes = append(s.closes, func() { _ = server.Close(); <-ended })
	return nil
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// manifestTypes are asked for when a tag is moved.
var manifestTypes = []string{
	"application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json",
	"application/vnd.docker.distribution.manifest.v2+json",
}

// move lets a tag name what another one names.
func (s *stand) move(ctx context.Context, repo, from, to string) error {
	url := "http://" + s.host + "/v2/" + repo + "/manifests/"
	body, mediaType, err := getManifest(ctx, url+from)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url+to, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", mediaType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusCreated {
		return errors.Join(err, fmt.Errorf("tag %s: %s", to, resp.Status))
	}
	return nil
}

func getManifest(ctx context.Context, url string) (body []byte, mediaType string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, "", err
	}
	req.Header["Accept"] = manifestTypes
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, "", fmt.Errorf("get %s: %s", url, resp.Status)
	}
	body, err = io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	return body, resp.Header.Get("Content-Type"), err
}
