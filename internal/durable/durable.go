// Package durable changes files and directories so that the change has reached
// the disk when a function returns without an error.
package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteFile creates a file with the content b. It must not exist yet.
func WriteFile(name string, b []byte) error {
	return Write(name, func(w io.Writer) error { _, err := w.Write(b); return err })
}

// Write does the same with what f writes. Its mode is 0666 less the umask. Where it fails, no
// file is left.
func Write(name string, f func(w io.Writer) error) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return fmt.Errorf("create file: %w", err)
	}
	err = f(file)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(fmt.Errorf("write %q: %w", name, err), os.Remove(name))
	}
	return nil
}

// SyncDir makes sure that renames in a directory have reached the disk.
func SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open directory to sync it: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("sync directory %q: %w", dir, err)
	}
	return nil
}

// Rename moves a file or directory to a place on the same file system, as
// [os.Rename] does, and makes the directories above it that are missing; they go again
// where it cannot be moved. The content is the caller's to sync before.
func Rename(from, to string) error {
	missing := missingParents(to)
	undo, err := MakeParents(to)
	if err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		undo()
		return err
	}
	for _, name := range append([]string{to}, missing...) {
		if err := SyncDir(filepath.Dir(name)); err != nil {
			return err
		}
	}
	return nil
}

// MakeParents creates the missing directories above path and gives a function
// that removes those that it made, should what comes next fail. They reach the disk
// no sooner than others.
func MakeParents(path string) (undo func(), err error) {
	missing := missingParents(path)
	undo = func() {
		for _, dir := range missing {
			_ = os.Remove(dir) // not when somebody else uses it by now
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		undo()
		return nil, fmt.Errorf("create directory: %w", err)
	}
	return undo, nil
}

// missingParents lists the directories above path that are not there, the lowest first.
func missingParents(path string) (missing []string) {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			return missing
		}
		missing = append(missing, dir)
	}
}
