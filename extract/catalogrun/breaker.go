package catalogrun

import (
	"fmt"
	"sync"

	"github.com/nbpack/nbpack/internal/transport"
)

// breakerLimit is how many references a registry may fail in a row before the
// others are not tried any more: each of them was retried with patience, and a
// thousand times that would keep a run busy for hours.
const breakerLimit = 3

// breaker knows which registries gave no answer in this run.
type breaker struct {
	mu    sync.Mutex
	fails map[string]int
	last  map[string]error
}

func newBreaker() *breaker {
	return &breaker{fails: map[string]int{}, last: map[string]error{}}
}

// open gives an error where a registry is not to be asked again.
func (b *breaker) open(host string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fails[host] < breakerLimit {
		return nil
	}
	return fmt.Errorf("registry %q is not asked any more in this run: %w", host, b.last[host])
}

// note counts how an attempt ended.
func (b *breaker) note(host string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil || !transport.Unreachable(err) {
		b.fails[host] = 0 // it answers
		return
	}
	b.fails[host]++
	b.last[host] = err
}
