package main

import (
	"context"
	"fmt"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/pack"
	"github.com/nbpack/nbpack/pack/index"
)

// parseIndex reads what belongs to --index. The destination is then the index.
func (b *buildFlags) parseIndex(name string, dst transport.Reference) error {
	if !b.index {
		if b.wrap {
			return cli.Usage("--wrap makes an index of an image, so it needs --index")
		}
		return nil
	}
	if dst.Transport == transport.Docker || dst.Transport == transport.OCI { // the plan refuses others
		if _, err := parseIndexReference(name); err != nil {
			return err
		}
	}
	b.options.IndexTag = dst.Tag
	return nil
}

// inIndex calls build between asking whether there can be an index at the
// destination, so that nothing is packed in vain, and putting into it what was
// built. Without --index it only calls build.
func (b *buildFlags) inIndex(ctx context.Context, env *cli.Env, client *transport.Client, dst transport.Reference, build func() ([]pack.Result, error)) ([]pack.Result, *indexOutput, error) {
	if !b.index {
		results, err := build()
		return results, nil, err
	}
	repo, err := client.Repository(ctx, dst)
	if err != nil {
		return nil, nil, err
	}
	defer repo.Close() // nothing was staged
	o := index.Options{Wrap: b.wrap, Log: env.Warn}
	if err := index.Check(ctx, repo, dst.Tag, o); err != nil {
		return nil, nil, err
	}
	results, err := build()
	if err != nil {
		return nil, nil, err
	}
	var children []ocispec.Descriptor
	var published []string
	for _, r := range results {
		children = append(children, r.Descriptor())
		published = append(published, r.Reference)
	}
	done, err := index.AddChildren(ctx, repo, dst.Tag, children, o)
	if err != nil {
		return nil, nil, fmt.Errorf("%s is published, but not in the index: %w", strings.Join(published, " "), err)
	}
	return results, &indexOutput{dst.String(), done}, nil
}
