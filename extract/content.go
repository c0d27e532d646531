package extract

import (
	"crypto/sha256"
	"encoding/hex"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/spec"
)

// write stages the content of one file and completes e with its sha256 and
// size. want is what is promised, or empty while that is not known. Content that is
// another one is not kept: the caller refuses it, in the words of the format.
func (in *intake) write(content contentReader, e *spec.Entry, want string) error {
	f, err := in.stage.Create(e.Path, e.Size)
	if err != nil {
		return err
	}
	f.Digested()
	n, err := io.Copy(f, content)
	e.Size = n
	if err != nil && keepTorn(err) {
		f.Suspend()
		return err
	}
	if err != nil {
		f.Abort()
		return err
	}
	if e.SHA256 = content.SHA256(); want != "" && e.SHA256 != want {
		f.Abort()
		return nil
	}
	return f.Close(e.SHA256)
}

// hashOf gives the sha256 and the size of what is left to read.
func hashOf(r io.Reader) (sum string, size int64, err error) {
	hash := sha256.New()
	n, err := io.Copy(hash, r)
	if err != nil {
		return "", 0, err
	}
	return hex.EncodeToString(hash.Sum(nil)), n, nil
}

func sha256Hex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// watch reports the bytes of a layer to the progress display.
func (in *intake) watch(r io.Reader, d ocispec.Descriptor) io.Reader {
	if in.progress == nil {
		return r
	}
	return &watched{Reader: r, name: d.Digest.String(), total: d.Size, report: in.progress}
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
func (nowhere) Create(string, int64) (stagedFile, error) {
	return nowhereFile{io.Discard}, nil
}
func (nowhere) Link(string, string) error    { return nil }
func (nowhere) Remove(string) error          { return nil }
func (nowhere) Mkdir(string) error           { return nil }
func (nowhere) Symlink(string, string) error { return nil }
func (nowhere) Holds(string) bool            { return false }
func (nowhere) Chunks(string, string) []byte { return nil }

// nowhereFile keeps nothing.
type nowhereFile struct{ io.Writer }

func (nowhereFile) Digested()          {}
func (nowhereFile) Close(string) error { return nil }
func (nowhereFile) Abort()             {}
func (nowhereFile) Suspend()           {}
