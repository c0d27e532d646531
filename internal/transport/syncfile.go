package transport

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// writeFileSync creates a file that must not exist yet and makes sure that its
// content has reached the disk.
func writeFileSync(name string, b []byte) error {
	return writeSync(name, func(w io.Writer) error { _, err := w.Write(b); return err })
}

// writeSync does the same with what f writes. When that fails, there is no file.
func writeSync(name string, f func(w io.Writer) error) error {
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

// syncDir makes sure that renames in a directory have reached the disk.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open directory to sync it: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("sync directory %q: %w", dir, err)
	}
	return nil
}
