package extract

import (
	"crypto/sha256"
	"encoding/hex"
	"io"

	"github.com/nbpack/nbpack/spec"
)

// write stages the content of one file and returns its sha256. want is what
// SHA256SUM promises, or empty while that is not known.
func (in *intake) write(content io.Reader, e spec.Entry, want string) (string, error) {
	f, err := in.stage.Create(e.Path, e.Size)
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	if _, err := io.Copy(io.MultiWriter(f, hash), content); err != nil {
		f.Abort()
		return "", err
	}
	sum := hex.EncodeToString(hash.Sum(nil))
	if want != "" && sum != want {
		f.Abort()
		return sum, nil // the caller refuses it, in the words of the format
	}
	return sum, f.Close(sum)
}

func hashOf(r io.Reader) (string, error) {
	hash := sha256.New()
	if _, err := io.Copy(hash, r); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

func sha256Hex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// watch reports the bytes of a layer to the progress display.
func (in *intake) watch(r io.Reader, layer int) io.Reader {
	if in.progress == nil {
		return r
	}
	l := in.target.layers[layer]
	return &watched{Reader: r, name: l.Digest, total: l.Size, report: in.progress}
}

type watched struct {
	io.Reader
	name        string
	done, total int64
	report      func(name string, done, total int64)
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	w.done += int64(n)
	w.report(w.name, w.done, w.total)
	return n, err
}

// nowhere is the stage of a dry run: it keeps nothing and has nothing.
type nowhere struct{}

func (nowhere) Reuse(string, string, int64) (bool, error) { return false, nil }
func (nowhere) Create(string, int64) (stagedFile, error)  { return nowhereFile{io.Discard}, nil }
func (nowhere) Link(string, string) error                 { return nil }
func (nowhere) Remove(string) error                       { return nil }
func (nowhere) Mkdir(string) error                        { return nil }
func (nowhere) Symlink(string, string) error              { return nil }

type nowhereFile struct{ io.Writer }

func (nowhereFile) Close(string) error { return nil }
func (nowhereFile) Abort()             {}
