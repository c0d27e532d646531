//go:build !linux

package bootdir

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/nbpack/nbpack/spec"
)

// errPlatform is the answer of every entry point outside Linux: the protocol
// rests on renameat2 and on directory descriptors.
var errPlatform = errors.New("boot directories are supported on Linux only")

// Dir is a boot directory; it cannot be opened on this system.
type Dir struct{}

// Open refuses on this system.
func Open(context.Context, string, Options) (*Dir, error) { return nil, errPlatform }

// View refuses on this system.
func View(string) (*Dir, error) { return nil, errPlatform }

// Close does nothing.
func (d *Dir) Close() error { return nil }

// Path gives the empty string.
func (d *Dir) Path() string { return "" }

// Pending is false.
func (d *Dir) Pending() bool { return false }

// Trees refuses on this system.
func (d *Dir) Trees() ([]Tree, error) { return nil, errPlatform }

// Tree refuses on this system.
func (d *Dir) Tree(string) (*Tree, error) { return nil, errPlatform }

// UpdateTree refuses on this system.
func (d *Dir) UpdateTree(*Tree) error { return errPlatform }

// Image refuses on this system.
func (d *Dir) Image(string) (*Image, error) { return nil, errPlatform }

// Images refuses on this system.
func (d *Dir) Images() ([]*Image, error) { return nil, errPlatform }

// Wear refuses on this system.
func (s *Stage) Wear(*Attributes) error { return errPlatform }

// HasGeneration is false.
func (d *Dir) HasGeneration(string) bool { return false }

// Drift refuses on this system.
func (d *Dir) Drift(context.Context, *Tree, bool) ([]Problem, error) { return nil, errPlatform }

// Holds is false.
func (d *Dir) Holds(string) bool { return false }

// CheckLive refuses on this system.
func (d *Dir) CheckLive(string) error { return errPlatform }

// CheckSite refuses on this system.
func (d *Dir) CheckSite(string, []spec.Entry, ...spec.Entry) error { return errPlatform }

// Space refuses on this system.
func (d *Dir) Space(int64, int64) error { return errPlatform }

// Begin refuses on this system.
func (d *Dir) Begin(context.Context, string) (*Stage, error) { return nil, errPlatform }

// Prune refuses on this system.
func (d *Dir) Prune(context.Context, int, time.Duration) ([]string, error) { return nil, errPlatform }

// Partial keeps nothing on this system.
func (d *Dir) Partial(string, int64) *Partial { return nil }

// Partial is nil on this system.
type Partial struct{}

// Size is 0.
func (p *Partial) Size() int64 { return 0 }

// Prefix is empty.
func (p *Partial) Prefix() io.Reader { return strings.NewReader("") }

// Tee gives r.
func (p *Partial) Tee(r io.Reader) io.Reader { return r }

// Drop does nothing.
func (p *Partial) Drop() {}

// Close does nothing.
func (p *Partial) Close() error { return nil }

// Leftover is nil on this system.
type Leftover struct{}

// Size is 0.
func (l *Leftover) Size() int64 { return 0 }

// ReadAt refuses on this system.
func (l *Leftover) ReadAt([]byte, int64) (int, error) { return 0, errPlatform }

// Close does nothing.
func (l *Leftover) Close() error { return nil }

// Stage cannot be made on this system.
type Stage struct{}

// Reuse refuses on this system.
func (s *Stage) Reuse(string, string, int64) (bool, error) { return false, errPlatform }

// Borrow refuses on this system.
func (s *Stage) Borrow(string, string, int64) (bool, error) { return false, errPlatform }

// TakeLeftover refuses on this system.
func (s *Stage) TakeLeftover(string, string) (bool, error) { return false, errPlatform }

// Open refuses on this system.
func (s *Stage) Open(string) (io.ReadCloser, error) { return nil, errPlatform }

// Prove refuses on this system.
func (s *Stage) Prove(string, string) error { return errPlatform }

// Reject refuses on this system.
func (s *Stage) Reject(string) error { return errPlatform }

// Content gives nil.
func (s *Stage) Content(string) ReadAtCloser { return nil }

// KeepChunks does nothing.
func (d *Dir) KeepChunks(string, []byte) {}

// Chunks gives nil.
func (d *Dir) Chunks(string, string) []byte { return nil }

// Link refuses on this system.
func (s *Stage) Link(string, string) error { return errPlatform }

// Create refuses on this system.
func (s *Stage) Create(string, int64) (*File, error) { return nil, errPlatform }

// Remove refuses on this system.
func (s *Stage) Remove(string) error { return errPlatform }

// Mkdir refuses on this system.
func (s *Stage) Mkdir(string) error { return errPlatform }

// Symlink refuses on this system.
func (s *Stage) Symlink(string, string) error { return errPlatform }

// CheckGenerated refuses on this system.
func (d *Dir) CheckGenerated([]Generated) error { return errPlatform }

// Generate refuses on this system.
func (d *Dir) Generate([]Generated) ([]string, error) { return nil, errPlatform }

// CommitAll refuses on this system.
func (s *Stage) CommitAll(context.Context, *Image, []*Tree) ([]Result, error) {
	return nil, errPlatform
}

// Commit refuses on this system.
func (s *Stage) Commit(context.Context, *Image, *Tree) (Result, error) {
	return Result{}, errPlatform
}

// Discard does nothing.
func (s *Stage) Discard() {}

// Suspend does nothing.
func (s *Stage) Suspend() {}

// Leftover gives nil.
func (s *Stage) Leftover(string) *Leftover { return nil }

// HasLeftovers is false.
func (s *Stage) HasLeftovers() bool { return false }

// File cannot be made on this system.
type File struct{}

// Digested does nothing.
func (f *File) Digested() {}

// Write refuses on this system.
func (f *File) Write([]byte) (int, error) { return 0, errPlatform }

// ReadFrom refuses on this system.
func (f *File) ReadFrom(io.Reader) (int64, error) { return 0, errPlatform }

// Close refuses on this system.
func (f *File) Close(string) error { return errPlatform }

// CreateLoose refuses on this system.
func (s *Stage) CreateLoose(string, int64) (*File, error) { return nil, errPlatform }

// CloseLoose refuses on this system.
func (f *File) CloseLoose() error { return errPlatform }

// Abort does nothing.
func (f *File) Abort() {}

// Suspend does nothing.
func (f *File) Suspend() {}

// Note is not available here.
func (d *Dir) Note(string, any) (bool, error) { return false, errPlatform }

// SetNote is not available here.
func (d *Dir) SetNote(string, any) error { return errPlatform }

// Retire is not available here.
func (d *Dir) Retire(context.Context, string) error { return errPlatform }

// Path is not available here.
func (s *Stage) Path() string { return "" }

// Hold is not available here.
func (d *Dir) Hold(string) (io.Closer, error) { return nil, errPlatform }
