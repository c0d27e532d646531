package directio

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/iotest"
	"unsafe"
)

func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func create(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestBuffer(t *testing.T) {
	for range 50 {
		b := buffer(3 * align)
		if uintptr(unsafe.Pointer(&b[0]))%align != 0 || len(b) != 3*align || cap(b) != len(b) {
			t.Fatalf("%p, %d of %d bytes", b, len(b), cap(b))
		}
	}
}

// TestWriter: whatever the pieces, the file has the bytes in their order.
func TestWriter(t *testing.T) {
	for _, size := range []int{0, 1, align, BlockSize - 1, BlockSize, BlockSize + 1, 4*BlockSize + 4711} {
		data := noise(size)
		for name, fill := range map[string]func(*Writer) error{
			"in one": func(w *Writer) error { _, err := w.Write(data); return err },
			"in pieces": func(w *Writer) error {
				_, err := io.CopyBuffer(struct{ io.Writer }{w}, bytes.NewReader(data), make([]byte, 7777))
				return err
			},
			"read": func(w *Writer) error { _, err := w.ReadFrom(iotest.HalfReader(bytes.NewReader(data))); return err },
			"both": func(w *Writer) error {
				n, err := w.Write(data[:size/3])
				if err != nil || n != size/3 {
					return errors.New("short write")
				}
				_, err = w.ReadFrom(bytes.NewReader(data[n:]))
				return err
			},
		} {
			f := create(t)
			w := NewWriter(int(f.Fd()), f.Write)
			if err := errors.Join(fill(w), w.Flush()); err != nil {
				t.Fatalf("%d bytes %s: %v", size, name, err)
			}
			w.Stop()
			if got, err := os.ReadFile(f.Name()); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes %s: the file has %d bytes, %v", size, name, len(got), err)
			}
		}
	}
}

// TestWriterWithout: a file system that refuses is written to as usual, without a
// byte lost or doubled.
func TestWriterWithout(t *testing.T) {
	data := noise(3*BlockSize + 5)
	f := create(t)
	w := NewWriter(int(f.Fd()), f.Write)
	refused := false
	w.direct = true // also where the temporary directory has no part in it
	w.append = func(p []byte) (int, error) {
		if f.Fd(); !refused {
			refused = true
			n, err := f.Write(p[:align])
			if err != nil {
				return n, err
			}
			return n, &os.PathError{Op: "write", Path: f.Name(), Err: syscall.EINVAL}
		}
		return f.Write(p)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil || w.direct {
		t.Fatalf("direct %v: %v", w.direct, err)
	}
	if got, err := os.ReadFile(f.Name()); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the file has %d bytes, %v", len(got), err)
	}
}

// TestWriterFails: an error of the disk ends the writing and is not forgotten.
func TestWriterFails(t *testing.T) {
	full := errors.New("full")
	for name, fill := range map[string]func(*Writer) error{
		"write": func(w *Writer) error { _, err := w.Write(make([]byte, 20*BlockSize)); return err },
		"read":  func(w *Writer) error { _, err := w.ReadFrom(bytes.NewReader(make([]byte, 20*BlockSize))); return err },
	} {
		asked := 0
		w := NewWriter(int(create(t).Fd()), func(p []byte) (int, error) {
			if asked++; asked > 2 {
				return 7, full
			}
			return len(p), nil
		})
		if err := fill(w); !errors.Is(err, full) {
			t.Errorf("%s: %v", name, err)
		}
		if err := w.Flush(); !errors.Is(err, full) || asked != 3 {
			t.Errorf("%s: flushed after an error: %v, asked %d times", name, err, asked)
		}
	}
	last := NewWriter(int(create(t).Fd()), func([]byte) (int, error) { return 0, full })
	if _, err := last.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := last.Flush(); !errors.Is(err, full) {
		t.Errorf("the rest: %v", err)
	}
}

// TestWriterReadsNoFurther: an error of the reader leaves what was read to Flush.
func TestWriterReadsNoFurther(t *testing.T) {
	data, f := noise(BlockSize+100), create(t)
	broken := errors.New("broken")
	w := NewWriter(int(f.Fd()), f.Write)
	n, err := w.ReadFrom(io.MultiReader(bytes.NewReader(data), iotest.ErrReader(broken)))
	if n != int64(len(data)) || !errors.Is(err, broken) {
		t.Errorf("%d bytes, %v", n, err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(f.Name()); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the file has %d bytes, %v", len(got), err)
	}
}

func TestWriterStops(t *testing.T) {
	f := create(t)
	w := NewWriter(int(f.Fd()), f.Write)
	if _, err := w.Write(make([]byte, BlockSize+1)); err != nil {
		t.Fatal(err)
	}
	w.Stop()
	w.Stop()
	if st, err := f.Stat(); err != nil || st.Size() != BlockSize {
		t.Errorf("%d bytes, %v: a block was written, the rest was not to be", st.Size(), err)
	}
}
