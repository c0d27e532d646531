package front

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/nbpack/nbpack/internal/mirrortree"
)

const (
	// sampleSize is how much of a blob a sample compares, in bytes.
	sampleSize = 1 << 20
	// slowest is how many bytes a second a mirror has to give, where all of a blob
	// is compared.
	slowest = 128 << 10
	// maxDoubts is how many blobs of a mirror wait to be compared as a whole, …
	maxDoubts = 64
	// … doubtAgain how soon the same one is not compared again, …
	doubtAgain = time.Minute
	// … and doubtTime how long one may keep the others waiting.
	doubtTime = 10 * time.Minute
)

// sample compares blobs of a mirror with the tree: those that were wrong, and some
// others by chance.
func (c *crawler) sample(ctx context.Context, m *mirror, blobs []blob, has map[digest.Digest]bool) error {
	m.mu.Lock()
	var some, others []blob
	for _, b := range blobs {
		switch {
		case m.wrong[b.digest]:
			some = append(some, b)
		case has[b.digest] && b.size > 0:
			others = append(others, b)
		}
	}
	m.mu.Unlock()
	rand.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
	some = append(some, others[:min(len(others), *c.o.Samples)]...)
	for _, b := range some {
		// What was wrong once is right only as a whole.
		if err := c.prove(ctx, m, b, m.isWrong(b.digest)); err != nil {
			return err
		}
	}
	return m.lies()
}

// prove compares one blob and remembers the outcome. An error says that it could not
// be compared.
func (c *crawler) prove(ctx context.Context, m *mirror, b blob, whole bool) error {
	length, limit := min(b.size, sampleSize), time.Duration(c.o.Timeout)
	if whole {
		length = b.size
		limit += time.Duration(b.size/slowest) * time.Second
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	same, err := c.compare(limited, m, b, length)
	if errors.Is(limited.Err(), context.DeadlineExceeded) {
		return &fault{stateSlow, fmt.Sprintf("%d bytes of %s take longer than %s", length, b.digest, limit)}
	}
	if err != nil {
		return err
	}
	if !same {
		if right, err := c.proved(ctx, b.digest); err != nil {
			return err
		} else if !right {
			c.warn("blob %s in the tree does not have its digest; nbextract mirror --checksum fetches it again", b.digest)
			return nil
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if same {
		delete(m.wrong, b.digest)
	} else {
		m.wrong[b.digest] = true
	}
	return nil
}

// compare reads so many bytes of a blob, from some place on, and compares them.
func (c *crawler) compare(ctx context.Context, m *mirror, b blob, length int64) (bool, error) {
	own, _, err := c.tree.open(mirrortree.Blob(b.digest))
	if err != nil {
		return true, nil // it was pruned meanwhile
	}
	defer own.Close()
	from, part := int64(0), ""
	if length < b.size {
		from = rand.Int64N(b.size - length + 1)
		part = fmt.Sprintf("bytes=%d-%d", from, from+length-1)
	}
	resp, err := c.send(ctx, m, http.MethodGet, b, part)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	switch code := resp.StatusCode; {
	case missing(code):
		m.note(b.digest, false)
		return true, nil
	case code == http.StatusOK:
		from = 0 // it knows no ranges
	case code != http.StatusPartialContent || !strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", from)):
		return false, &fault{stateDown, fmt.Sprintf("GET of %s is answered with status %d", b.digest, code)}
	}
	return equal(torn{resp.Body}, io.NewSectionReader(own, from, length), length == b.size)
}

// errTorn says that a connection broke, where a shorter blob would have ended.
var errTorn = errors.New("the answer breaks off")

// torn tells the two apart.
type torn struct{ io.Reader }

// Read implements io.Reader.
func (t torn) Read(p []byte) (int, error) {
	n, err := t.Reader.Read(p)
	if err == io.ErrUnexpectedEOF {
		err = errTorn
	}
	return n, err
}

// equal compares what a mirror gives with what it should; toEnd: nothing may follow.
// Only errors of the mirror are errors.
func equal(got, want io.Reader, toEnd bool) (bool, error) {
	a, b := make([]byte, 32<<10), make([]byte, 32<<10)
	for {
		n, err := io.ReadFull(want, b)
		k, gotErr := io.ReadFull(got, a[:n])
		switch {
		case !bytes.Equal(a[:k], b[:k]), errors.Is(gotErr, io.ErrUnexpectedEOF) && k < n, gotErr == io.EOF && n > 0:
			return false, nil
		case gotErr != nil && gotErr != io.EOF:
			return false, gotErr
		case err != nil: // the end
			if !toEnd {
				return true, nil
			}
			more, _ := got.Read(a[:1])
			return more == 0, nil
		}
	}
}

// proved tells whether the tree's own copy is right. The only error is that of a
// context that ended.
func (c *crawler) proved(ctx context.Context, d digest.Digest) (bool, error) {
	f, _, err := c.tree.open(mirrortree.Blob(d))
	if err != nil {
		return errors.Is(err, os.ErrNotExist), nil
	}
	defer f.Close()
	defer context.AfterFunc(ctx, func() { _ = f.Close() })()
	v := d.Verifier()
	_, err = io.Copy(v, f)
	return err == nil && v.Verified(), ctx.Err()
}

func (m *mirror) isWrong(d digest.Digest) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wrong[d]
}

// lies gives a fault where some blob of the mirror is wrong.
func (m *mirror) lies() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for d := range m.wrong {
		return &fault{stateWrong, fmt.Sprintf("%d blobs have other content, %s for one", len(m.wrong), d)}
	}
	return nil
}

// doubts are blobs of a mirror that clients asked for again, right after they were
// sent there.
type doubts struct {
	queue chan digest.Digest
	mu    sync.Mutex
	asked map[digest.Digest]time.Time
}

// doubt has a blob of a mirror compared as a whole, one after the other. Clients can
// make it no more than that.
func (c *crawler) doubt(m *mirror, d digest.Digest) {
	now := c.now()
	m.doubts.mu.Lock()
	defer m.doubts.mu.Unlock()
	for old, at := range m.doubts.asked {
		if now.Sub(at).Abs() > doubtAgain {
			delete(m.doubts.asked, old)
		}
	}
	if _, known := m.doubts.asked[d]; known {
		return
	}
	select {
	case m.doubts.queue <- d:
		m.doubts.asked[d] = now
	default: // enough is waiting
	}
}

// clear looks into the doubts about a mirror.
func (c *crawler) clear(ctx context.Context, m *mirror) {
	for {
		select {
		case <-ctx.Done():
			return
		case d := <-m.doubts.queue:
			c.clearOne(ctx, m, d)
		}
	}
}

// clearOne compares one blob. What takes too long stays a doubt: a mirror that is too
// slow for everything is noticed elsewhere.
func (c *crawler) clearOne(ctx context.Context, m *mirror, d digest.Digest) {
	ctx, cancel := context.WithTimeout(ctx, c.doubtTime)
	defer cancel()
	f, st, err := c.tree.open(mirrortree.Blob(d))
	if err != nil {
		return
	}
	_ = f.Close()
	if err = c.prove(ctx, m, blob{digest: d, size: st.Size()}, true); err == nil {
		err = m.lies()
	}
	c.drop(ctx, m, err)
}
