package transport

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// Bounds on a listing: a registry could go on for ever.
const (
	maxTagPages = 1000
	maxTags     = 1 << 20
)

// repository gives oras-go's view of an endpoint.
func (e *endpoint) repository() *remote.Repository {
	e.s.mu.Lock()
	defer e.s.mu.Unlock()
	return &remote.Repository{
		Client:    e,
		Reference: registry.Reference{Registry: e.host, Repository: e.repo},
		PlainHTTP: e.s.scheme == "http",
	}
}

// registryTags lists the tags of a repository, from the registry itself.
func (c *Client) registryTags(ctx context.Context, ref Reference) ([]string, error) {
	s := &session{c: c, ref: ref}
	e, err := s.primary()
	if err != nil {
		return nil, err
	}
	repo := e.repository()
	repo.TagListPageSize = 1000
	var tags []string
	pages := 0
	err = repo.Tags(ctx, "", func(page []string) error {
		tags = append(tags, page...)
		if pages++; pages > maxTagPages || len(tags) > maxTags {
			return refuse("the list of tags does not end")
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the tags of %q: %w", ref.Name, notFoundAs(err, ref, "repository"))
	}
	slices.Sort(tags)
	return slices.Compact(tags), nil
}

// notFoundAs turns oras-go's 404 into ours.
func notFoundAs(err error, ref Reference, what string) error {
	var resp *errcode.ErrorResponse
	if errors.As(err, &resp) && resp.StatusCode == http.StatusNotFound {
		return &NotFoundError{Ref: ref.String(), What: what}
	}
	return err
}
