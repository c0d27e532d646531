package pack

import (
	"context"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/internal/trust"
)

// Verify decides whether the image, artifact or index that src names is signed
// as a policy demands, and with each also all that an index names, every one by
// signatures of its own. An error, most often a *trust.UnverifiedError, means that
// it is not, or that nobody knows.
func Verify(ctx context.Context, src transport.Source, ref transport.Reference, p *trust.Policy, each bool) ([]*trust.Evidence, error) {
	reader, err := transport.Attachments(src)
	if err != nil {
		return nil, err
	}
	all, err := manifestsOf(ctx, src, each)
	if err != nil {
		return nil, err
	}
	repository := ""
	if ref.Transport == transport.Docker {
		repository = ref.Name
	}
	var out []*trust.Evidence
	for _, d := range all {
		e, err := p.Verify(ctx, reader, repository, d)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}
