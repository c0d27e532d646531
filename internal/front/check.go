package front

import (
	"context"
	"sync"
)

// Checked is what one look at all mirrors found.
type Checked struct {
	Mirrors []Status
	up      []*mirror
	blobs   []blob
}

// Blobs tells how many blobs the tree has.
func (c *Checked) Blobs() int { return len(c.blobs) }

// Check looks at all mirrors of a configuration once. dir is the tree that they are
// compared with.
func Check(ctx context.Context, dir string, c *Config, agent string, warn func(format string, a ...any)) (*Checked, error) {
	t, err := openTree(dir)
	if err != nil {
		return nil, err
	}
	defer t.root.Close()
	crawler := newCrawler(t, c.Crawl, agent)
	defer crawler.client.CloseIdleConnections()
	crawler.warn = warn
	var mirrors []*mirror
	for _, m := range c.Mirrors {
		mirrors = append(mirrors, newMirror(m))
	}
	var all sync.WaitGroup
	for _, m := range mirrors {
		all.Go(func() { crawler.visit(ctx, m) })
	}
	all.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	found := &Checked{}
	if found.blobs, err = t.list(); err != nil {
		return nil, err
	}
	for _, m := range mirrors {
		found.Mirrors = append(found.Mirrors, m.status())
		if m.is(stateUp) {
			found.up = append(found.up, m)
		}
	}
	return found, nil
}
