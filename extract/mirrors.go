package extract

import (
	"context"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/internal/transport/blobmirror"
)

// mirrorsNote is where a boot directory keeps what is known of mirrors. It saves
// time; nothing depends on it.
const mirrorsNote = "mirrors.json"

// MirrorHealth gives what runs over boot directories remember of mirrors. It takes no
// lock; what cannot be read is nothing.
func MirrorHealth(dirs ...string) *blobmirror.Health {
	all := map[string]blobmirror.State{}
	for _, name := range dirs {
		for url, state := range readMirrors(name) {
			if state.Seen.After(all[url].Seen) {
				all[url] = state
			}
		}
	}
	return blobmirror.NewHealth(all)
}

func readMirrors(dir string) map[string]blobmirror.State {
	d, err := bootdir.View(dir)
	if err != nil {
		return nil
	}
	defer d.Close()
	var states map[string]blobmirror.State
	if _, err := d.Note(mirrorsNote, &states); err != nil {
		return nil
	}
	return states
}

// keepMirrors writes that for the next run.
func (o Options) keepMirrors(d *bootdir.Dir) {
	states, changed := o.MirrorHealth.States()
	if !changed || o.DryRun {
		return
	}
	if err := d.SetNote(mirrorsNote, states); err != nil {
		o.warnf("remember how mirrors did: %v", err)
	}
}

// readRanges is transport.Ranges for who can begin again.
func readRanges(ctx context.Context, src transport.Source, d ocispec.Descriptor, ranges []transport.Range, f func(i int, r io.Reader) error) error {
	for {
		if err := transport.Ranges(ctx, src, d, ranges, f); !transport.MirrorLied(err) {
			return err
		}
	}
}
