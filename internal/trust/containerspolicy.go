//go:build containers_image_openpgp

package trust

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/image"
	"go.podman.io/image/v5/signature"
	"go.podman.io/image/v5/types"
)

// ContainersPolicy is a policy.json of podman and skopeo
// (containers-policy.json(5)).
type ContainersPolicy struct {
	policy *signature.Policy
	id     string
}

// OpenContainersPolicy reads a policy.json; "system" is the one that podman would
// use. The error is one of usage if it does not make sense, and fs.ErrNotExist if there
// is none.
func OpenContainersPolicy(file string) (*ContainersPolicy, error) {
	var policy *signature.Policy
	var err error
	if file == SystemPolicy {
		policy, err = signature.DefaultPolicy(nil)
	} else {
		policy, err = signature.NewPolicyFromFile(file)
	}
	if err == nil && policy == nil {
		err = errors.New("there is none")
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the signature policy: %w", err)
	}
	if err != nil {
		return nil, badPolicy("%q: %w", file, err)
	}
	id, err := policyID(policy)
	if err != nil {
		return nil, badPolicy("%q: %w", file, err)
	}
	return &ContainersPolicy{policy: policy, id: id}, nil
}

// ID names the policy, and the content of the keys that it names: two of the
// same ID demand the same.
func (c *ContainersPolicy) ID() string { return c.id }

// policyID hashes a policy and all files that are named in it.
func policyID(policy *signature.Policy) (string, error) {
	text, err := json.Marshal(policy)
	if err != nil {
		return "", err
	}
	var tree any
	if err := json.Unmarshal(text, &tree); err != nil {
		return "", err
	}
	h := sha256.New()
	h.Write(text)
	for _, name := range namedFiles("", tree, nil) {
		body, err := os.ReadFile(name)
		if err != nil {
			body = nil // what needs it will refuse
		}
		sum := sha256.Sum256(body)
		fmt.Fprintf(h, "\n%q %x", name, sum)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

// namedFiles collects the values of keyPath, keyPaths, caPath and the like.
func namedFiles(key string, v any, found []string) []string {
	switch v := v.(type) {
	case string:
		if strings.HasSuffix(key, "Path") || strings.HasSuffix(key, "Paths") {
			found = append(found, v)
		}
	case []any:
		for _, e := range v {
			found = namedFiles(key, e, found)
		}
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			found = namedFiles(k, v[k], found)
		}
	}
	return found
}

// Verify applies the policy to a digest that was resolved, be it of an image or an
// index. repository is "HOST/NAME"; tag is the one that led to the digest, or "":
// policies can be about tags. sys says how to reach the registry, and where
// registries.d is, without which no signatures are found. Evidence without Signers
// means that the policy accepts it; it does not say because of which signature.
//
// A *PolicyRejection is the policy's word; other errors say that it could not be
// found out.
func (c *ContainersPolicy) Verify(ctx context.Context, sys *types.SystemContext, repository, tag string, d digest.Digest) (evidence *Evidence, err error) {
	if repository == "" {
		return nil, &PolicyRejection{Digest: d, Err: errors.New("policy.json judges images in registries only")}
	}
	defer func() {
		if err != nil && ctx.Err() != nil {
			err = ctx.Err()
		}
	}()
	pinned, err := docker.ParseReference("//" + repository + "@" + d.String())
	if err != nil {
		return nil, fmt.Errorf("apply policy.json: %w", err)
	}
	asked := pinned
	if tag != "" {
		if asked, err = docker.ParseReference("//" + repository + ":" + tag); err != nil {
			return nil, fmt.Errorf("apply policy.json: %w", err)
		}
	}
	src, err := pinned.NewImageSource(ctx, sys)
	if err != nil {
		return nil, fmt.Errorf("apply policy.json: %w", err)
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	judge, err := signature.NewPolicyContext(c.policy)
	if err != nil {
		return nil, fmt.Errorf("apply policy.json: %w", err)
	}
	defer func() { err = errors.Join(err, judge.Destroy()) }()
	// The bytes that are judged are those of the digest, under the name by which
	// they were asked for.
	allowed, err := judge.IsRunningImageAllowed(ctx, image.UnparsedInstanceWithReference(image.UnparsedInstance(src, nil), asked))
	switch {
	case err != nil && refuses(err):
		return nil, &PolicyRejection{Digest: d, Err: err}
	case err != nil:
		return nil, fmt.Errorf("apply policy.json to %s: %w", d, err)
	case !allowed:
		return nil, &PolicyRejection{Digest: d, Err: errors.New("it is not allowed")}
	}
	return &Evidence{Digest: d, Policy: c.id}, nil
}

// refuses tells the policy's word from failures on the way to it.
func refuses(err error) bool {
	var requirement signature.PolicyRequirementError
	var invalid signature.InvalidSignatureError
	return errors.As(err, &requirement) || errors.As(err, &invalid)
}
