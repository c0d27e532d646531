package extract

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"

	"github.com/nbpack/nbpack/internal/archive"
	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// part is one file that is put together: its chunks, or itself as the only one.
type part struct {
	entry  spec.Entry
	chunks []archive.Chunk
}

// assembly writes parts front to back, in the order of the blob: so one pass over
// the ranges that are missing makes all of them, and chunks that are on the disk
// go between. What was fetched and what was copied has the digests of the tables;
// the files as such are left to the proof of the layer.
type assembly struct {
	in     *intake
	from   *blueprint
	parts  []part
	donors *donors
	frames *archive.FrameReader
	buf    []byte
	seen   *watched // progress

	next int   // part
	step int   // chunk of it
	at   int64 // content of it that is written
	file *bootdir.File
}

// run is a stretch of neighbouring chunks of one part that have to be fetched.
type run struct{ part, from, to int }

// errAgain says that the disk did not have what it promised: what is missing is
// counted anew, from the place that was reached.
var errAgain = errors.New("a chunk on the disk is not what the record says")

// do makes all parts. After an error the file that was reached is left open.
func (a *assembly) do(ctx context.Context) error {
	for {
		runs, ranges := a.missing()
		err := error(nil)
		if len(runs) > 0 {
			err = transport.Ranges(ctx, a.in.src, a.from.layer.desc, ranges, func(i int, r io.Reader) error {
				if err := a.copyUpTo(ctx, runs[i].part, runs[i].from); err != nil {
					return err
				}
				return a.receive(ctx, runs[i], r)
			})
		}
		if err == nil {
			err = a.copyUpTo(ctx, len(a.parts), 0)
		}
		if transport.MirrorLied(err) {
			a.restart()
			continue
		}
		if !errors.Is(err, errAgain) {
			return err
		}
	}
}

// restart begins the current part anew: the end of what was written of it is wrong.
func (a *assembly) restart() {
	if a.file != nil {
		a.file.Abort()
	}
	a.file, a.step, a.at = nil, 0, 0
}

// missing lists what must be fetched from here on.
func (a *assembly) missing() (runs []run, ranges []transport.Range) {
	step, at := a.step, a.at
	for i := a.next; i < len(a.parts); i, step, at = i+1, 0, 0 {
		p := a.parts[i]
		open := false // the last run goes on
		for k := step; k < len(p.chunks); k++ {
			c := p.chunks[k]
			if a.donors.has(p.entry.Path, at, c) {
				open = false
			} else if open {
				runs[len(runs)-1].to = k + 1
				ranges[len(ranges)-1].Length += c.End - c.Offset
			} else {
				runs = append(runs, run{i, k, k + 1})
				ranges = append(ranges, transport.Range{Offset: c.Offset, Length: c.End - c.Offset})
				open = true
			}
			at += c.Size
		}
	}
	return runs, ranges
}

// copyUpTo goes on from the disk until a chunk of a part is reached.
func (a *assembly) copyUpTo(ctx context.Context, part, step int) error {
	for a.next < part || a.next == part && a.step < step {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := a.begin(); err != nil {
			return err
		}
		if p := a.parts[a.next]; len(p.chunks) > 0 {
			ok, err := a.donors.copy(a.file, p.entry.Path, a.at, p.chunks[a.step])
			if err != nil {
				return err
			}
			if !ok {
				return errAgain
			}
		}
		if err := a.advance(); err != nil {
			return err
		}
	}
	return nil
}

// receive writes chunks that come from the blob.
func (a *assembly) receive(ctx context.Context, r run, blob io.Reader) error {
	p := a.parts[r.part]
	var size int64
	for _, c := range p.chunks[r.from:r.to] {
		size += c.Size
	}
	if a.seen != nil {
		a.seen.Reader, blob = blob, a.seen
	}
	content := blob
	if !a.from.plain {
		if err := a.frames.Reset(ctx, blob, size); err != nil {
			return err
		}
		content = a.frames
	}
	for _, c := range p.chunks[r.from:r.to] {
		if err := a.begin(); err != nil {
			return err
		}
		hash := sha256.New()
		n, err := io.CopyBuffer(io.MultiWriter(a.file, hash), io.LimitReader(content, c.Size), a.buf)
		if err != nil {
			return err
		}
		if n < c.Size || sum256(hash.Sum(nil)) != c.SHA256 {
			return spec.Refuse(spec.RuleDigest, p.entry.Path, "a part of the layer is not what its table says")
		}
		if err := a.advance(); err != nil {
			return err
		}
	}
	return atEnd(content)
}

// begin creates the file of the current part, if that is not done.
func (a *assembly) begin() (err error) {
	if a.file == nil {
		e := a.parts[a.next].entry
		a.file, err = a.in.disk.CreateLoose(e.Path, e.Size)
	}
	return err
}

// advance leaves a chunk behind, and the part if it was the last one.
func (a *assembly) advance() error {
	p := a.parts[a.next]
	if len(p.chunks) > 0 {
		a.at += p.chunks[a.step].Size
	}
	if a.step++; a.step < len(p.chunks) {
		return nil
	}
	a.next, a.step, a.at = a.next+1, 0, 0
	file := a.file
	a.file = nil
	if err := file.CloseLoose(); err != nil {
		return err
	}
	a.in.loose[p.entry.Path] = true
	return nil
}

// assemble brings the files of a blueprint into the stage that are not there yet.
func (in *intake) assemble(ctx context.Context, b *blueprint) (err error) {
	parts, err := in.missingParts(b)
	if err != nil || len(parts) == 0 {
		return err
	}
	if in.tocPays(b, parts) {
		if err := b.readTOC(ctx, in.src); err != nil {
			return err
		}
		if err := b.check(); err != nil {
			return err
		}
		if err := cut(b, parts); err != nil {
			return err
		}
	}
	a := &assembly{in: in, from: b, parts: parts, buf: make([]byte, 256<<10)}
	if a.donors, err = in.findDonors(ctx, parts); err != nil {
		return err
	}
	defer a.donors.close()
	if a.frames, err = archive.NewFrameReader(); err != nil {
		return err
	}
	defer a.frames.Close()
	_, ranges := a.missing()
	var fetch int64
	for _, r := range ranges {
		fetch += r.Length
	}
	if fetch > b.layer.desc.Size/8*wholeShare {
		return errMostMissing
	}
	if in.progress != nil {
		a.seen = &watched{name: b.layer.desc.Digest.String(), total: fetch, report: in.progress}
	}
	err = a.do(ctx)
	if a.file != nil && keepTorn(err) {
		a.file.Suspend()
	} else if a.file != nil {
		a.file.Abort()
	}
	return err
}

// keepTorn tells whether what was written up to an error may serve the next run:
// not where this one goes on with the whole blob, nor on a full disk.
func keepTorn(err error) bool { return !whole(err) && !noSpace(err) }
