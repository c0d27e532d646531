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

	"github.com/nbpack/nbpack/internal/transport/httpclient"
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
	var tags []string
	err = e.eachTag(ctx, func(page []string) error {
		tags = append(tags, page...)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the tags of %q: %w", ref.Name, err)
	}
	slices.Sort(tags)
	return slices.Compact(tags), nil
}

// eachTag gives the list of tags page by page, until f fails. The error is a
// *NotFoundError when the registry knows no such repository.
func (e *endpoint) eachTag(ctx context.Context, f func(page []string) error) error {
	repo := e.repository()
	repo.TagListPageSize = 1000
	pages, tags := 0, 0
	err := repo.Tags(ctx, "", func(page []string) error {
		pages, tags = pages+1, tags+len(page)
		if pages > maxTagPages || tags > maxTags {
			return httpclient.Refuse("the list of tags does not end")
		}
		return f(page)
	})
	return notFoundAs(err, e.s.ref, "repository")
}

// notFoundAs turns oras-go's 404 into ours.
func notFoundAs(err error, ref Reference, what string) error {
	var resp *errcode.ErrorResponse
	if errors.As(err, &resp) && resp.StatusCode == http.StatusNotFound {
		return &NotFoundError{Ref: ref.String(), What: what}
	}
	return err
}
