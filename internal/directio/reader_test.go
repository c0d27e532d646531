package directio

import (
	"bytes"
	"errors"
	"io"
	"os"
	"syscall"
	"testing"
)

// TestReader: each stretch comes whole and in order, wherever it lies, and also where
// the file system refuses at some place.
func TestReader(t *testing.T) {
	data := noise(3*BlockSize + 4711)
	f := create(t)
	if err := os.WriteFile(f.Name(), data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, stretch := range [][2]int64{{0, 0}, {0, BlockSize}, {0, int64(len(data))}, {BlockSize, 3 * BlockSize}, {1, 2*BlockSize + 5}} {
		for _, refuse := range []int{-1, 0, 1} {
			if refuse > 0 && stretch[0]%align != 0 {
				continue // refused by itself before
			}
			file, err := os.Open(f.Name())
			if err != nil {
				t.Fatal(err)
			}
			reads, refused := 0, false
			r := NewReader(int(file.Fd()), func(p []byte, at int64) (int, error) {
				if reads++; reads == refuse+1 && !refused {
					refused = true
					return 0, syscall.EINVAL
				}
				n, err := file.ReadAt(p, at)
				if err == io.EOF {
					err = nil
				}
				return n, err
			})
			var got []byte
			err = r.Each(stretch[0], stretch[1], func(p []byte) { got = append(got, p...) })
			switch {
			case refused && r.direct:
				t.Error("it goes on as was refused")
			case err != nil:
				// Where nothing reads past the cache, a refusal is an error as any other.
				if !refused || !errors.Is(err, syscall.EINVAL) || set(int(file.Fd()), true) {
					t.Errorf("%d, refused %d: %v", stretch, refuse, err)
				}
			case !bytes.Equal(got, data[stretch[0]:stretch[1]]):
				t.Errorf("%d, refused %d: other bytes, %d of them", stretch, refuse, len(got))
			}
			_ = file.Close()
		}
	}
}

func TestReaderErrors(t *testing.T) {
	f := create(t)
	if _, err := f.Write(noise(BlockSize + 3)); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken disk")
	for want, readAt := range map[error]func(p []byte, at int64) (int, error){
		io.ErrUnexpectedEOF: func(p []byte, at int64) (int, error) { n, _ := f.ReadAt(p, at); return n, nil },
		broken:              func([]byte, int64) (int, error) { return 0, broken },
	} {
		err := NewReader(int(f.Fd()), readAt).Each(0, 2*BlockSize, func([]byte) {})
		if err != want {
			t.Errorf("%v, want %v", err, want)
		}
	}
}
