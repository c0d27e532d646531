package transport

import (
	"fmt"
	"io"
	"os"
	"sync"
)

// growingFile reads a file that is still being written. At the end of what there
// is a Read waits, until more was written, the file is whole, or Close is called.
type growingFile struct {
	mu    sync.Mutex
	news  *sync.Cond
	file  *os.File // nil once closed
	size  int64    // of what was written
	whole bool
	at    int64
	told  func(at int64) // of every Read; may be nil
}

func openGrowing(name string) (*growingFile, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	g := &growingFile{file: f}
	g.news = sync.NewCond(&g.mu)
	return g, nil
}

// grown says how many bytes were written, and whether that is all.
func (g *growingFile) grown(size int64, whole bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.size, g.whole = size, whole
	g.news.Broadcast()
}

// tell has f called after every Read from now on.
func (g *growingFile) tell(f func(at int64)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.told = f
}

// Read implements [io.Reader].
func (g *growingFile) Read(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.file != nil && g.at == g.size && !g.whole {
		g.news.Wait()
	}
	if g.file == nil {
		return 0, fmt.Errorf("upload: %w", os.ErrClosed)
	}
	if g.at == g.size {
		return 0, io.EOF
	}
	n, err := g.file.ReadAt(p[:min(int64(len(p)), g.size-g.at)], g.at)
	g.at += int64(n)
	if g.told != nil {
		g.told(g.at)
	}
	return n, noEnd(err, n)
}

// noEnd leaves it to the next Read to find the end.
func noEnd(err error, n int) error {
	if err == io.EOF && n > 0 {
		return nil
	}
	return err
}

// Close implements [io.Closer]. It may be called more than once.
func (g *growingFile) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.file == nil {
		return nil
	}
	err := g.file.Close()
	g.file = nil
	g.news.Broadcast()
	return err
}
