package relocate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// maxText bounds a file to rewrite, in bytes.
const maxText = 64 << 20

// File is a text file that is going to be rewritten.
type File struct {
	name string // as the user wrote it
	path string // without links
	was  os.FileInfo
	text []byte
}

// OpenFile reads a text file, so that it is known to be one before the images are
// copied. Links are followed: it is the file that is rewritten, and the link stays.
func OpenFile(name string) (*File, error) {
	path, err := filepath.EvalSymlinks(name)
	if err != nil {
		return nil, fmt.Errorf("file to rewrite: %w", err)
	}
	st, err := os.Lstat(path)
	if err != nil {
		return nil, fmt.Errorf("file to rewrite: %w", err)
	}
	if !st.Mode().IsRegular() {
		return nil, usage("", "%q cannot be rewritten: it is no regular file", name)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("file to rewrite: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxText+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("file to rewrite: %w", err)
	case len(text) > maxText:
		return nil, usage("", "%q cannot be rewritten: it is larger than %d bytes", name, maxText)
	case bytes.IndexByte(text, 0) >= 0:
		return nil, usage("", "%q cannot be rewritten: it is no text", name)
	}
	return &File{name, path, st, text}, nil
}

// Name is the name that the file was opened by.
func (f *File) Name() string { return f.name }

// Changes tells what a Rewriter would replace.
func (f *File) Changes(r *Rewriter) []Change {
	_, changes := r.Rewrite(f.text)
	return changes
}

// Rewrite replaces the file by what a Rewriter makes of it, in one step and with its
// mode and, as far as that is allowed, its owner. A file without references is not
// touched, and one that somebody changed in the meantime is an error.
func (f *File) Rewrite(r *Rewriter) ([]Change, error) {
	text, changes := r.Rewrite(f.text)
	if len(changes) == 0 {
		return nil, nil
	}
	st, err := os.Lstat(f.path)
	if err != nil {
		return nil, fmt.Errorf("rewrite file: %w", err)
	}
	if !os.SameFile(st, f.was) || st.Size() != f.was.Size() || !st.ModTime().Equal(f.was.ModTime()) {
		return nil, fmt.Errorf("rewrite %q: somebody has changed it in the meantime", f.name)
	}
	return changes, replace(f.path, text, f.was)
}

// WriteFile writes a file, a map for example, in one step. What is no regular file,
// as a pipe, is written to.
func WriteFile(name string, text []byte) error {
	st, err := os.Stat(name)
	if err == nil && !st.Mode().IsRegular() {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.Write(text)
		return errors.Join(err, f.Close())
	}
	if err == nil {
		if name, err = filepath.EvalSymlinks(name); err != nil {
			return err
		}
		return replace(name, text, st)
	}
	return replace(name, text, nil)
}

// replace puts a new file in the place of another, whose mode and owner it gets, or
// of none.
func replace(path string, text []byte, like os.FileInfo) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".nbpack-*")
	if err != nil {
		return fmt.Errorf("write %q: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp.Name())
		}
	}()
	mode := os.FileMode(0o644)
	if like != nil {
		if st, ok := like.Sys().(*syscall.Stat_t); ok {
			_ = tmp.Chown(int(st.Uid), int(st.Gid)) // only root may give files away
		}
		mode = like.Mode() & (os.ModePerm | os.ModeSetuid | os.ModeSetgid | os.ModeSticky)
	}
	_, err = tmp.Write(text)
	if err == nil {
		err = tmp.Chmod(mode)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return fmt.Errorf("write %q: %w", path, err)
	}
	if err = os.Rename(tmp.Name(), path); err != nil {
		return fmt.Errorf("write %q: %w", path, err)
	}
	return nil
}
