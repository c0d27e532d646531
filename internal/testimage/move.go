package testimage

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// apply does a move in the layout at dir.
func (m Move) apply(dir string, v Vars) error {
	at := func(p string) string { return filepath.Join(dir, v.expand(p)) }
	switch {
	case m.Write != "":
		if err := os.RemoveAll(at(m.Write)); err != nil {
			return err
		}
		return os.WriteFile(at(m.Write), m.Data.Bytes(v), 0o644)
	case m.Symlink != "":
		if err := os.RemoveAll(at(m.Symlink)); err != nil {
			return err
		}
		return os.Symlink(v.expand(m.Target), at(m.Symlink))
	case m.Fifo != "":
		if err := os.RemoveAll(at(m.Fifo)); err != nil {
			return err
		}
		return syscall.Mkfifo(at(m.Fifo), 0o644)
	case m.Dir != "":
		if err := os.RemoveAll(at(m.Dir)); err != nil {
			return err
		}
		return os.MkdirAll(at(m.Dir), 0o755)
	case m.Remove != "":
		if _, err := os.Lstat(at(m.Remove)); err != nil {
			return err
		}
		return os.RemoveAll(at(m.Remove))
	case m.Sparse != "":
		if err := os.RemoveAll(at(m.Sparse)); err != nil {
			return err
		}
		f, err := os.Create(at(m.Sparse))
		if err != nil {
			return err
		}
		defer f.Close()
		return f.Truncate(m.Size)
	}
	return fmt.Errorf("a move that names nothing")
}
