package extract

import (
	"context"
	"io"

	"github.com/nbpack/nbpack/spec"
)

// findSums reads layers until SHA256SUM turned up. A layer that is recorded
// is not read: the image it came from was proved to hold exactly what its
// SHA256SUM lists.
func (in *intake) findSums(ctx context.Context) error {
	for _, i := range in.order() {
		if sums, ok := in.known.sumsOf(in.target.layers[i].DiffID); ok {
			in.setSums(sums)
			return nil
		}
		if known, ok := in.known[in.target.layers[i].DiffID]; ok && !known.holds(spec.SumsName) {
			continue
		}
		if err := in.readLayer(ctx, i); err != nil {
			return err
		}
		if in.sums != nil {
			return nil
		}
	}
	return nil
}

func (in *intake) setSums(list []spec.Sum) {
	in.sumList, in.sums = list, make(map[string]string, len(list))
	for _, s := range list {
		in.sums[s.Path] = s.SHA256
	}
}

// takeSums stages the checksum list and reads it.
func (in *intake) takeSums(content io.Reader, e *spec.Entry) error {
	if e.Size > spec.MaxSumsSize {
		return spec.Refuse(spec.RuleDocumentSize, e.Path, "it is %d bytes long, at most %d are accepted", e.Size, int64(spec.MaxSumsSize))
	}
	body, err := io.ReadAll(content)
	if err != nil {
		return err
	}
	list, err := spec.ParseSums(body)
	if err != nil {
		return err
	}
	e.SHA256 = sha256Hex(body)
	if _, have := in.staged[e.Path]; have {
		return in.sumsFound(list, e)
	}
	reused, err := in.stage.Reuse(e.Path, e.SHA256, e.Size)
	if err != nil {
		return err
	}
	if reused {
		in.reused[e.Path] = e.SHA256
	} else {
		f, err := in.stage.Create(e.Path, e.Size)
		if err != nil {
			return err
		}
		if _, err := f.Write(body); err != nil {
			f.Abort()
			return err
		}
		if err := f.Close(e.SHA256); err != nil {
			return err
		}
	}
	return in.sumsFound(list, e)
}

func (in *intake) sumsFound(list []spec.Sum, e *spec.Entry) error {
	in.staged[e.Path] = *e
	if in.sums == nil {
		in.setSums(list)
	}
	return nil
}
