package transport

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"
)

const (
	// maxBreaks is how often a download may break before it is given up …
	maxBreaks = 5
	// … and progress is what makes a new start: a bad line over which
	// something comes is better than none.
	progress = 8 << 20
)

// patience counts the breaks of one download.
type patience struct {
	breaks int
	since  int64 // what had come at the last break
}

// broke notes a break after got bytes and waits before the next connection.
// It gives an error when there shall be none.
func (p *patience) broke(ctx context.Context, c *Client, blob digest.Digest, got int64, cause error) error {
	if got-p.since >= progress {
		p.breaks = 0
	}
	p.since = got
	p.breaks++
	if err := ctx.Err(); err != nil {
		return err
	}
	if p.breaks > maxBreaks {
		return fmt.Errorf("fetch blob %s: gave up after %d breaks: %w", blob, maxBreaks, cause)
	}
	return c.backoff(ctx, p.breaks, cause)
}
