//go:build containers_image_openpgp

package trust

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/types"
)

// registryWith serves an index and an entry of it, and what else put adds.
type registryWith struct {
	t    *testing.T
	host string
}

func (r *registryWith) put(path, mediaType string, body []byte) {
	r.t.Helper()
	method := http.MethodPut
	if strings.HasPrefix(path, "blobs/") {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(r.t.Context(), method, "http://"+r.host+"/v2/netboot/"+path, bytes.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", mediaType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		text, _ := io.ReadAll(resp.Body)
		r.t.Fatalf("%s: %s %s", path, resp.Status, text)
	}
}

// simple stores the older form of a signature.
func (r *registryWith) simple(key *PrivateKey, q Request) {
	r.t.Helper()
	a, err := SignSimple(key, q, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, b := range a.Blobs {
		r.put("blobs/uploads/?digest="+digest.FromBytes(b).String(), "application/octet-stream", b)
	}
	r.put("manifests/"+simpleTag(q.Subject.Digest), ocispec.MediaTypeImageManifest, a.Manifest)
}

// TestContainersPolicy applies policies to an index and its entry. This is the
// library that podman and skopeo have, so what it accepts, they do; the ones that
// Debian ships were built without these signatures.
func TestContainersPolicy(t *testing.T) {
	srv := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer srv.Close()
	r := &registryWith{t, strings.TrimPrefix(srv.URL, "http://")}
	repository := r.host + "/netboot"
	config := []byte(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}`)
	r.put("blobs/uploads/?digest="+digest.FromBytes(config).String(), "application/octet-stream", config)
	body := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[]}`,
		ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageConfig, digest.FromBytes(config), len(config))
	entry := describe(ocispec.MediaTypeImageManifest, body)
	r.put("manifests/entry", entry.MediaType, body)
	body = fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":%d,"platform":{"os":"linux","architecture":"amd64"}}]}`,
		ocispec.MediaTypeImageIndex, entry.MediaType, entry.Digest, entry.Size)
	index := describe(ocispec.MediaTypeImageIndex, body)
	r.put("manifests/v1", index.MediaType, body)

	key, other := newKey(t), newKey(t)
	r.simple(key, Request{Subject: index, Repository: repository})
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	pub, wrong := write("key.pub", string(key.Public().PEM())), write("other.pub", string(other.Public().PEM()))
	write("d/default.yaml", "docker:\n  "+r.host+":\n    use-sigstore-attachments: true\n")
	write("none/default.yaml", "{}")
	sys := &types.SystemContext{
		DockerInsecureSkipTLSVerify: types.OptionalBoolTrue, RegistriesDirPath: filepath.Join(dir, "d"),
		SystemRegistriesConfPath: os.DevNull, SystemRegistriesConfDirPath: filepath.Join(dir, "no"), AuthFilePath: write("auth.json", "{}"),
	}
	unaware := *sys
	unaware.RegistriesDirPath = filepath.Join(dir, "none")
	signed := func(key, identity string) string {
		return fmt.Sprintf(`{"default":[{"type":"reject"}],"transports":{"docker":{%q:[{"type":"sigstoreSigned","keyPath":%q,"signedIdentity":%s}]}}}`, r.host, key, identity)
	}
	const byRepository = `{"type":"matchRepository"}`
	for _, tt := range []struct {
		name, policy string
		sys          *types.SystemContext
		tag          string
		digest       digest.Digest
		says         string // "": accepted
	}{
		{"anything", `{"default":[{"type":"insecureAcceptAnything"}]}`, sys, "v1", index.Digest, ""},
		{"reject", `{"default":[{"type":"reject"}]}`, sys, "v1", index.Digest, "rejected by policy"},
		{"signed", signed(pub, byRepository), sys, "v1", index.Digest, ""},
		{"signed, by digest", signed(pub, byRepository), sys, "", index.Digest, ""},
		{"entry is not signed", signed(pub, byRepository), sys, "", entry.Digest, "no signature exists"},
		{"the tag moved, the digest counts", signed(pub, byRepository), sys, "entry", index.Digest, ""},
		{"wrong key", signed(wrong, byRepository), sys, "v1", index.Digest, "verification failed"},
		{"registries.d does not say where", signed(pub, byRepository), &unaware, "v1", index.Digest, "no signature exists"},
		{"exact tag", signed(pub, `{"type":"matchExact"}`), sys, "v1", index.Digest, "not accepted"},
		{"signed elsewhere", signed(pub, `{"type":"exactRepository","dockerRepository":"registry.example/netboot"}`), sys, "v1", index.Digest, "not accepted"},
		{"no key", signed(filepath.Join(dir, "nosuch"), byRepository), sys, "v1", index.Digest, "nosuch"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := OpenContainersPolicy(write("policy.json", tt.policy))
			if err != nil {
				t.Fatal(err)
			}
			e, err := c.Verify(t.Context(), tt.sys, repository, tt.tag, tt.digest)
			if tt.says == "" {
				if err != nil || e.Digest != tt.digest || e.Policy != c.ID() {
					t.Errorf("%+v, %v", e, err)
				}
				return
			}
			var rejection *PolicyRejection
			if e != nil || err == nil || tt.name != "no key" && !errors.As(err, &rejection) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%+v, %v; want %q", e, err, tt.says)
			}
			if strings.Contains(tt.says, "no signature") && rejection.Hint() == "" {
				t.Error("no hint")
			}
		})
	}

	c, err := OpenContainersPolicy(write("policy.json", signed(pub, byRepository)))
	if err != nil {
		t.Fatal(err)
	}
	before := c.ID()
	write("key.pub", string(other.Public().PEM()))
	if c, err = OpenContainersPolicy(filepath.Join(dir, "policy.json")); err != nil || c.ID() == before {
		t.Errorf("another key under the same name is the same policy: %v", err)
	}
	var rejection *PolicyRejection
	if e, err := c.Verify(t.Context(), sys, "", "", index.Digest); e != nil || !errors.As(err, &rejection) {
		t.Errorf("a local image: %+v, %v", e, err)
	}
	srv.Close()
	if e, err := c.Verify(t.Context(), sys, repository, "v1", index.Digest); e != nil || err == nil || errors.As(err, &rejection) {
		t.Errorf("nobody answers: %+v, %v", e, err)
	}
	for _, bad := range []string{"", "{}", `{"default":[]}`, `{"default":[{"type":"x"}]}`} {
		if _, err := OpenContainersPolicy(write("bad.json", bad)); err == nil {
			t.Errorf("%q is a policy", bad)
		}
	}
}

// TestNoContainersPolicy: a file that does not exist is another mistake than one that
// makes no sense.
func TestNoContainersPolicy(t *testing.T) {
	absent := filepath.Join(t.TempDir(), "policy.json")
	var usage interface{ ExitCode() int }
	if _, err := OpenContainersPolicy(absent); !errors.Is(err, fs.ErrNotExist) || errors.As(err, &usage) || !strings.Contains(err.Error(), absent) {
		t.Error(err)
	}
	if err := os.WriteFile(absent, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenContainersPolicy(absent); !errors.As(err, &usage) || usage.ExitCode() != 2 {
		t.Error(err)
	}
}
