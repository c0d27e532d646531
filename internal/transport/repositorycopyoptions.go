package transport

import (
	"context"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// CopyOptions say more about a [Repository.CopyWith]. The zero value is what
// [Repository.Copy] does. The functions may be called from many goroutines.
type CopyOptions struct {
	// MountFrom names another repository of the registry that is written to, without
	// the host, from which a blob can be mounted; "" if none is known. Where it
	// names none, blobs are mounted from the source if that is in the same
	// registry. May be nil.
	MountFrom func(d digest.Digest) string
	// Manifest is told of each manifest and index once it is in place, those below
	// others first. May be nil.
	Manifest func(d ocispec.Descriptor, body []byte)
}

// turns lets one goroutine at a time deal with one piece of content. Two uploads
// of a blob at once cost twice the traffic, and there are registries that get
// them mixed up.
type turns struct {
	mu   sync.Mutex
	busy map[digest.Digest]chan struct{}
}

// take waits for the turn, which ends with done, or for the end of ctx.
func (t *turns) take(ctx context.Context, d digest.Digest) (done func(), err error) {
	for {
		t.mu.Lock()
		other := t.busy[d]
		if other == nil {
			mine := make(chan struct{})
			if t.busy == nil {
				t.busy = map[digest.Digest]chan struct{}{}
			}
			t.busy[d] = mine
			t.mu.Unlock()
			return func() {
				t.mu.Lock()
				delete(t.busy, d)
				t.mu.Unlock()
				close(mine)
			}, nil
		}
		t.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
