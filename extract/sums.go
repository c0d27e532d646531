package extract

import (
	"context"
	"errors"
	"io"

	"github.com/nbpack/nbpack/spec"
)

// findSums reads layers until SHA256SUM turned up, where one may. A layer that
// is recorded is not read: the image it came from was proved to hold exactly
// what its SHA256SUM lists. Of a large one with tables only the list is read at
// first.
func (in *intake) findSums(ctx context.Context) error {
	var large []int
	for _, i := range in.order() {
		l := in.layers[i]
		if !l.may(spec.SumsName) {
			continue
		}
		if known, ok := l.recorded(in.known); ok {
			if sums, sum, ok := known.sums(); ok {
				in.listed = sum
				return in.setSums(sums)
			}
			if entries, ok := l.foresee(in.known); ok && !holdsPath(entries, spec.SumsName) {
				continue
			}
		}
		if in.peekPays(l) {
			if found, err := in.peekSums(ctx, i); err != nil || found {
				return err
			}
			large = append(large, i)
		} else if in.frugal && l.blob().Size > peekMin {
			large = append(large, i)
		} else if err := in.readForSums(ctx, i); err != nil || in.exact {
			return err
		}
	}
	if in.frugal && len(large) > 0 {
		return errListCostly
	}
	for _, i := range large {
		if err := in.readForSums(ctx, i); err != nil || in.exact {
			return err
		}
	}
	return nil
}

// errListCostly says that a payload would have to be read to find SHA256SUM.
var errListCostly = errors.New("SHA256SUM can only be found in a large layer")

// setSums takes the list as the promise for every file. What a manifest has
// promised already must be the same.
func (in *intake) setSums(list []spec.Sum) error {
	sums := make(map[string]string, len(list))
	for _, s := range list {
		sums[s.Path] = s.SHA256
	}
	if err := in.agree(sums); err != nil {
		return err
	}
	in.sumList, in.sums, in.exact = list, sums, true
	return nil
}

// agree compares the list with the manifest of an artifact, so that nothing is
// fetched of one that contradicts itself.
func (in *intake) agree(listed map[string]string) error {
	for p, want := range in.sums {
		sum, ok := listed[p]
		switch {
		case p == spec.SumsName:
		case ok && sum != want:
			return spec.Refuse(spec.RuleSumsMismatch, p, "SHA256SUM says %s, the manifest says %s", sum, want)
		case !ok && !isLinkName(p):
			return spec.Refuse(spec.RuleSumsUnlisted, p, "SHA256SUM does not list it")
		}
	}
	for p := range listed {
		if !in.may(p) {
			return spec.Refuse(spec.RuleSumsExtra, p, "SHA256SUM lists it, but no layer can hold it")
		}
	}
	return nil
}

// may tells whether any layer can make something at a path.
func (in *intake) may(p string) bool {
	for _, l := range in.layers {
		if l.may(p) {
			return true
		}
	}
	return false
}

// takeSums stages the checksum list and reads it.
func (in *intake) takeSums(content io.Reader, e *spec.Entry) error {
	body, err := io.ReadAll(io.LimitReader(content, spec.MaxSumsSize+1))
	if err != nil {
		return err
	}
	if max(e.Size, int64(len(body))) > spec.MaxSumsSize {
		return spec.Refuse(spec.RuleDocumentSize, e.Path, "it is longer than the %d bytes that are accepted", int64(spec.MaxSumsSize))
	}
	list, err := spec.ParseSums(body)
	if err != nil {
		return err
	}
	e.SHA256, e.Size = sha256Hex(body), int64(len(body))
	if _, have := in.staged[e.Path]; !have {
		if err := in.stageSums(body, e); err != nil {
			return err
		}
	}
	in.hold(*e)
	if in.exact && in.peeked != "" && in.peeked != e.SHA256 {
		return spec.Refuse(spec.RuleSumsMismatch, e.Path, "it is another one than the tables of its layer led to")
	}
	if in.exact {
		return nil
	}
	return in.setSums(list)
}

func (in *intake) stageSums(body []byte, e *spec.Entry) error {
	reused, err := in.stage.Reuse(e.Path, e.SHA256, e.Size)
	if err != nil {
		return err
	}
	if reused {
		in.reused[e.Path] = e.SHA256
		return nil
	}
	f, err := in.stage.Create(e.Path, e.Size)
	if err != nil {
		return err
	}
	if _, err := f.Write(body); err != nil {
		f.Abort()
		return err
	}
	return f.Close(e.SHA256)
}
