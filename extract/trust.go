package extract

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/types"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/internal/trust"
)

// Trust is what must be true of the signatures of a reference before anything
// that it names is used. Where both fields are set, both must be content. A nil
// *Trust demands nothing.
type Trust struct {
	// Signatures are demanded by keys or identities; nil: none.
	Signatures *trust.Policy
	// Containers is a policy.json of the containers tools; nil: none.
	Containers *trust.ContainersPolicy
	// System says how policy.json reaches the registry of a reference. Required
	// with Containers.
	System func(transport.Reference) (*types.SystemContext, error)
}

// ID tells demands from each other; "" for none. What was accepted under one is
// judged again under another.
func (t *Trust) ID() string {
	if t == nil {
		return ""
	}
	var ids []string
	if t.Signatures != nil {
		ids = append(ids, t.Signatures.ID())
	}
	if t.Containers != nil {
		ids = append(ids, "policy.json "+t.Containers.ID())
	}
	return strings.Join(ids, " ")
}

// admission judges one reference: what it names first, and where that does not
// decide it, each entry that is used.
type admission struct {
	trust      *Trust
	src        transport.Source
	repository string // "" for local places
	top        ocispec.Descriptor
	accepted   []*trust.Evidence
	// undecided is set while entries need signatures of their own. why is the
	// reason that top's do not do.
	undecided bool
	why       error
}

// admit judges what ref names, before anything below it is read.
func (t *Trust) admit(ctx context.Context, src transport.Source, ref transport.Reference, top ocispec.Descriptor) (*admission, error) {
	a := &admission{trust: t, src: src, top: top}
	if t == nil {
		return a, nil
	}
	if !ref.IsLocal() {
		a.repository = ref.Name
	}
	if t.Containers != nil {
		if err := a.containers(ctx, ref); err != nil {
			return nil, fmt.Errorf("%q: %w", ref, err)
		}
	}
	if t.Signatures != nil {
		if err := a.signatures(ctx); err != nil {
			return nil, fmt.Errorf("%q: %w", ref, err)
		}
	}
	return a, nil
}

func (a *admission) containers(ctx context.Context, ref transport.Reference) error {
	var sys *types.SystemContext
	if a.repository != "" {
		var err error
		if sys, err = a.trust.System(ref); err != nil {
			return err
		}
	}
	tag := ref.Tag
	if ref.Digest != "" {
		tag = ""
	}
	evidence, err := a.trust.Containers.Verify(ctx, sys, a.repository, tag, a.top.Digest)
	if err != nil {
		return err
	}
	a.accepted = append(a.accepted, evidence)
	return nil
}

func (a *admission) signatures(ctx context.Context) error {
	policy := a.trust.Signatures
	if policy.Scope == trust.ScopeEntry {
		a.undecided = true
		return policy.Check()
	}
	evidence, err := a.verify(ctx, a.top)
	var unverified *trust.UnverifiedError
	if policy.Scope == trust.ScopeEither && errors.As(err, &unverified) {
		a.undecided, a.why = true, err
		return nil
	}
	if err == nil {
		a.accepted = append(a.accepted, evidence)
	}
	return err
}

// entry judges a manifest that is about to be read.
func (a *admission) entry(ctx context.Context, d ocispec.Descriptor) error {
	if !a.undecided {
		return nil
	}
	if a.why != nil && d.Digest == a.top.Digest {
		return a.why // it was judged already
	}
	evidence, err := a.verify(ctx, d)
	if err == nil {
		a.accepted = append(a.accepted, evidence)
	}
	return err
}

func (a *admission) verify(ctx context.Context, d ocispec.Descriptor) (*trust.Evidence, error) {
	attachments, err := transport.Attachments(a.src)
	if err != nil {
		return nil, err
	}
	return a.trust.Signatures.Verify(ctx, attachments, a.repository, d)
}

// record is what the boot directory remembers of the judgement on a tree whose
// manifest is digest: what vouches for it.
func (a *admission) record(digest string) json.RawMessage {
	var list []*trust.Evidence
	for _, e := range a.accepted {
		if d := e.Digest.String(); d == digest || d == a.top.Digest.String() {
			list = append(list, e)
		}
	}
	if len(list) == 0 {
		return nil
	}
	b, err := json.Marshal(list)
	if err != nil {
		return nil // strings and numbers alone; the policy's ID is recorded anyway
	}
	return b
}

// sameTrust says whether a tree was accepted under the demands of this run. A
// run without any is content with every tree.
func (p *Placement) sameTrust(policy string) bool {
	return p.opts.Trust == nil || policy == p.opts.Trust.ID()
}

// admitPinned judges a tree that a rollback has pinned, if it was accepted under
// other demands: what is live must be signed as well as what would follow.
func (p *Placement) admitPinned(ctx context.Context, j *job, pl *spot) error {
	if p.sameTrust(pl.cur.Policy) {
		return nil
	}
	ref, err := transport.ParseReference(pl.cur.Reference)
	if err != nil {
		return err
	}
	live := ocispec.Descriptor{Digest: digest.Digest(pl.cur.Digest), Size: -1}
	a, err := p.opts.Trust.admit(ctx, j.src, ref, live)
	if err == nil {
		err = a.entry(ctx, live)
	}
	if err != nil {
		return fmt.Errorf("%q is pinned to a generation that does not do: %w", pl.cur.Live, err)
	}
	next := *pl.cur
	next.Policy, next.Evidence = p.opts.Trust.ID(), a.record(pl.cur.Digest)
	pl.cur = &next
	if p.opts.DryRun {
		return nil
	}
	return p.dir.UpdateTree(pl.cur)
}
