package main

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/internal/trust"
)

// TestSignaturePolicy applies a policy.json, which a plain build cannot: that
// refuses whatever the policy says.
func TestSignaturePolicy(t *testing.T) {
	nbpackPath(t) // built before the home of the go command is gone
	r, home := newRecorder(t), t.TempDir()
	t.Setenv("HOME", home)
	s := newSignedRepo(t, strings.TrimPrefix(r.URL, "http://"))
	_, otherPub := newKey(t)
	tree := t.TempDir()
	writeTree(t, tree, map[string]string{"vmlinuz": "kernel", "initrd.img": "ramdisk"})
	writeTree(t, home, map[string]string{
		".config/containers/registries.d/default.yaml": "docker:\n  " + s.addr + ":\n    use-sigstore-attachments: true\n",
	})
	top := s.build(tree, "v")
	simple := func() {
		a, err := trust.SignSimple(s.key, trust.Request{Subject: top, Repository: s.name()}, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.attachment(a.Manifest, a.Blobs...)
		s.do(http.MethodPut, "manifests/"+transport.AttachmentTag(top.Digest, "sig"), ocispec.MediaTypeImageManifest, a.Manifest)
	}
	signedBy := func(pub string) string {
		return fmt.Sprintf(`{"default":[{"type":"reject"}],"transports":{"docker":{%q:[{"type":"sigstoreSigned","keyPath":%q,"signedIdentity":{"type":"matchRepository"}}]}}}`, s.addr, pub)
	}
	const anything, reject = `{"default":[{"type":"insecureAcceptAnything"}]}`, `{"default":[{"type":"reject"}]}`
	policy := filepath.Join(t.TempDir(), "policy.json")
	write := func(text string) {
		if err := os.WriteFile(policy, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(anything)
	_, err := trust.OpenContainersPolicy(policy)
	plain := err != nil
	if plain && !strings.Contains(err.Error(), "built without policy.json") {
		t.Fatal(err)
	}

	boot, before := t.TempDir(), map[string]string(nil)
	for _, tt := range []struct {
		name, policy string
		flags        []string
		sign         func()
		code         int
		says         string
	}{
		{name: "reject", policy: reject, code: 3, says: "policy.json does not permit"},
		{name: "not signed", policy: signedBy(s.pub), code: 3, says: "no signature"},
		{name: "a bundle is not what policy.json knows", policy: signedBy(s.pub), sign: func() { s.sign(top) }, code: 3, says: "--legacy-attachments"},
		{name: "no policy", policy: `{`, code: 2, says: "policy.json"},
		{name: "another key", policy: signedBy(otherPub), sign: simple, code: 3, says: "policy.json does not permit"},
		{name: "both must accept", policy: signedBy(s.pub), flags: []string{"--key", otherPub}, code: 3, says: "none of the keys"},
		{name: "signed", policy: signedBy(s.pub)},
		{name: "another policy over an installed tree", policy: reject, code: 3, says: "policy.json does not permit"},
		{name: "anything", policy: anything},
		{name: "system", flags: []string{"--signature-policy", "system"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.t = t
			if tt.sign != nil {
				tt.sign()
			}
			write(tt.policy)
			if tt.name == "system" {
				writeTree(t, home, map[string]string{".config/containers/policy.json": anything})
			}
			before = snapshot(t, boot)
			forbidden := s.below(top)
			r.asked()
			code, _, errs := nbextract(t, append([]string{"pull", "--tls-verify=false", s.ref(), "-d", boot, "--signature-policy", policy}, tt.flags...)...)
			if plain {
				tt.code, tt.says = 1, "built without policy.json"
			}
			if code != tt.code || !strings.Contains(errs, tt.says) {
				t.Errorf("exit %d, want %d and %q\n%s", code, tt.code, tt.says, errs)
			}
			if tt.code == 0 {
				return
			}
			asked := strings.Join(r.asked(), "\n")
			for _, d := range forbidden {
				if strings.Contains(asked, d) {
					t.Errorf("it asked for what is below a refused digest:\n%s", asked)
				}
			}
			if after := snapshot(t, boot); !maps.Equal(before, after) {
				t.Errorf("the boot directory changed:\n%v\n%v", before, after)
			}
		})
	}
	if plain {
		return
	}
	// What was accepted costs one request, also under a policy.json.
	args := []string{"--signature-policy", policy, s.ref(), "-d", boot}
	write(signedBy(s.pub))
	pullJSON(t, args...)
	r.asked()
	if again := pullJSON(t, args...); again.Changed || len(r.asked()) != 1 {
		t.Errorf("unchanged, under the same policy: %+v", again)
	}
}
