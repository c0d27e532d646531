package transport

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"go.podman.io/image/v5/types"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/nbpack/nbpack/internal/ocilayout"
	"github.com/nbpack/nbpack/internal/transport/blobmirror"
	"github.com/nbpack/nbpack/internal/transport/httpclient"
)

// Client opens sources and stages. It holds one HTTP client and one cache of
// tokens for the whole run, and is safe for concurrent use.
type Client struct {
	o    Options
	sys  *types.SystemContext // where containers/image looks for its files
	http *httpclient.Client
	// tokens is keyed by repository, since credentials can be, too.
	tokens auth.Cache
	// habits knows by host what became of requests for ranges (habit).
	habits sync.Map

	mirrors   mirrorSet
	health    *blobmirror.Health
	measuring turns // how far away mirrors are

	mu        sync.Mutex
	credsHost string            // the registry that Creds are for; empty: none was asked yet
	schemes   map[string]string // by host, once an answer came

	storage storagePool
}

// NewClient makes a client. It reads no configuration yet.
func NewClient(o Options) (*Client, error) {
	if user, _, _ := strings.Cut(o.Creds, ":"); o.Creds != "" && user == "" {
		return nil, badRef("write --creds USER:PASSWORD", "credentials without a user name")
	}
	if o.Creds != "" && o.PullSecret != "" {
		return nil, badRef("", "credentials and a pull secret exclude each other")
	}
	for _, h := range o.URLHosts {
		if !IsURLHost(h) {
			return nil, badRef("write HOST or HOST:PORT, without a scheme", "%q is no host that URLs may lead to", h)
		}
	}
	if o.AuthFile == "" {
		// The library does not read this variable by itself.
		o.AuthFile = os.Getenv("REGISTRY_AUTH_FILE")
	} else if _, err := os.Stat(o.AuthFile); err != nil {
		return nil, fmt.Errorf("read credentials: %w", err)
	}
	if o.CertDir != "" {
		if _, err := os.Stat(o.CertDir); err != nil {
			return nil, fmt.Errorf("read certificates: %w", err)
		}
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	sys := &types.SystemContext{AuthFilePath: o.AuthFile}
	if o.RegistriesConf != "" {
		sys.SystemRegistriesConfPath = o.RegistriesConf
		sys.SystemRegistriesConfDirPath = o.RegistriesConf + ".d"
	}
	c := &Client{o: o, sys: sys, tokens: auth.NewCache(), schemes: map[string]string{}, health: o.MirrorHealth}
	if c.health == nil {
		c.health = blobmirror.NewHealth(nil)
	}
	var err error
	if c.mirrors, err = o.parseMirrors(); err != nil {
		return nil, err
	}
	network := httpclient.Options{CertDir: o.CertDir, UserAgent: o.UserAgent, Stall: o.StallTimeout}
	if o.From != nil {
		network.Instead = offline{o.From.ref}
	}
	c.http = httpclient.New(network)
	return c, nil
}

// sleep waits for d, or until the context ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Close closes idle connections and removes temporary files. What was opened
// through the client is closed before.
func (c *Client) Close() error {
	c.http.Close()
	return c.storage.close()
}

// Usage gives the requests and bytes of everything that went through the client.
func (c *Client) Usage() Usage {
	return usageOf(c.http.Total())
}

func usageOf(n *httpclient.Counter) Usage {
	return Usage{Requests: n.Requests(), Bytes: n.Bytes()}
}

// tempDir is where large temporary files go.
func (c *Client) tempDir() string {
	return cmp.Or(c.o.TempDir, os.Getenv("TMPDIR"), "/var/tmp")
}

// Source opens the repository that ref names. A registry is not asked yet.
func (c *Client) Source(ctx context.Context, ref Reference) (Source, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	switch ref.Transport {
	case OCI, OCIArchive:
		s, err := openLayout(ref)
		if err != nil {
			return nil, err // not a nil *layoutSource
		}
		return s, nil
	case Dir:
		s, err := openDir(ref)
		if err != nil {
			return nil, err
		}
		return s, nil
	case ContainersStorage:
		return c.openStorage(ctx, ref)
	case Docker:
		if c.o.From != nil {
			return c.o.From.Source(ref)
		}
		return c.openRegistry(ref)
	}
	return nil, badRef("", "image reference %q: unknown transport", ref)
}

// Tags lists the tags of a repository, or the names in a layout, sorted.
func (c *Client) Tags(ctx context.Context, ref Reference) ([]string, error) {
	switch ref.Transport {
	case OCI, OCIArchive:
		s, err := openLayout(ref)
		if err != nil {
			return nil, err
		}
		defer s.Close()
		idx, _, err := ocilayout.ReadIndex(s.files)
		if err != nil {
			return nil, fmt.Errorf("read %q: %w", ref, err)
		}
		return ocilayout.Names(idx), nil
	case Dir:
		return nil, nil
	case ContainersStorage:
		return c.storageTags(ctx, ref)
	}
	if c.o.From != nil {
		return c.o.From.Tags(ref.Name), nil
	}
	return c.registryTags(ctx, ref)
}

func (c *Client) logf(format string, a ...any) {
	if c.o.Log != nil {
		c.o.Log(format, a...)
	}
}

func (c *Client) progress(name string, done, total int64) {
	if c.o.Progress != nil {
		c.o.Progress(name, done, total)
	}
}
