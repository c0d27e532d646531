package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/testserver"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/internal/trust"
)

// signedRepo is a repository of signed images, as those see it who may write there.
type signedRepo struct {
	t    *testing.T
	addr string // HOST:PORT
	key  *trust.PrivateKey
	pub  string // its file
}

func newSignedRepo(t *testing.T, addr string) *signedRepo {
	s := &signedRepo{t: t, addr: addr}
	s.key, s.pub = newKey(t)
	return s
}

// newKey makes a key, and writes its public half into a file.
func newKey(t *testing.T) (*trust.PrivateKey, string) {
	t.Helper()
	key, err := trust.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key.pub")
	if err := os.WriteFile(file, key.Public().PEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	return key, file
}

func (s *signedRepo) name() string { return s.addr + "/netboot" }
func (s *signedRepo) ref() string  { return "docker://" + s.name() + ":v" }

// build puts an index of one image under the tag v; other labels make another one.
func (s *signedRepo) build(tree, label string) ocispec.Descriptor {
	s.t.Helper()
	out, err := exec.Command(nbpackPath(s.t), "build", "-q", "--lint=off", "--tls-verify=false", "--index", "--os-name", "d", "--os-version", "1",
		"--platform", "linux/amd64", "--label", "example="+label, tree, s.ref()).CombinedOutput()
	if err != nil {
		s.t.Fatalf("nbpack build: %v\n%s", err, out)
	}
	body := s.get("manifests/v")
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromBytes(body), Size: int64(len(body))}
}

// do sends a request, which has to succeed.
func (s *signedRepo) do(method, path, mediaType string, body []byte) []byte {
	s.t.Helper()
	target := path
	if !strings.HasPrefix(path, "http") {
		target = "http://" + s.addr + "/v2/netboot/" + path
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, target, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", mediaType)
	req.Header.Set("Accept", ocispec.MediaTypeImageIndex+", "+ocispec.MediaTypeImageManifest)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		s.t.Fatalf("%s %s: %s %v\n%s", method, target, resp.Status, err, answer)
	}
	if at := resp.Header.Get("Location"); method == http.MethodPost {
		return []byte(at)
	}
	return answer
}

func (s *signedRepo) get(path string) []byte {
	s.t.Helper()
	return s.do(http.MethodGet, path, "", nil)
}

func (s *signedRepo) blob(b []byte) {
	s.t.Helper()
	at := string(s.do(http.MethodPost, "blobs/uploads/", "", nil))
	if strings.HasPrefix(at, "/") {
		at = "http://" + s.addr + at
	}
	mark := "?"
	if strings.Contains(at, "?") {
		mark = "&"
	}
	s.do(http.MethodPut, at+mark+"digest="+digest.FromBytes(b).String(), "application/octet-stream", b)
}

// bundle makes a signature and stores it, without telling that it is there.
func (s *signedRepo) bundle(key *trust.PrivateKey, q trust.Request) ocispec.Descriptor {
	s.t.Helper()
	a, err := trust.SignBundle(key, q)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.attachment(a.Manifest, a.Blobs...)
}

func (s *signedRepo) attachment(manifest []byte, blobs ...[]byte) ocispec.Descriptor {
	s.t.Helper()
	for _, b := range blobs {
		s.blob(b)
	}
	d := digest.FromBytes(manifest)
	s.do(http.MethodPut, "manifests/"+d.String(), ocispec.MediaTypeImageManifest, manifest)
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, ArtifactType: trust.MediaTypeBundle, Digest: d, Size: int64(len(manifest))}
}

func referrersTag(d digest.Digest) string { return strings.Replace(d.String(), ":", "-", 1) }

// list says what refers to a manifest.
func (s *signedRepo) list(of digest.Digest, referrers ...ocispec.Descriptor) {
	s.t.Helper()
	body, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: referrers})
	if err != nil {
		s.t.Fatal(err)
	}
	s.do(http.MethodPut, "manifests/"+referrersTag(of), ocispec.MediaTypeImageIndex, body)
}

// sign signs as nbpack sign does.
func (s *signedRepo) sign(top ocispec.Descriptor) {
	s.t.Helper()
	s.list(top.Digest, s.bundle(s.key, trust.Request{Subject: top, Repository: s.name()}))
}

// child gives the manifest of the index.
func (s *signedRepo) child(top ocispec.Descriptor) ocispec.Descriptor {
	s.t.Helper()
	var index ocispec.Index
	if err := json.Unmarshal(s.get("manifests/"+top.Digest.String()), &index); err != nil || len(index.Manifests) == 0 {
		s.t.Fatalf("%s: %v", top.Digest, err)
	}
	return index.Manifests[0]
}

// below lists the digests of everything that an index reaches, without itself.
func (s *signedRepo) below(top ocispec.Descriptor) []string {
	s.t.Helper()
	c := s.child(top)
	var m ocispec.Manifest
	if err := json.Unmarshal(s.get("manifests/"+c.Digest.String()), &m); err != nil || len(m.Layers) == 0 {
		s.t.Fatalf("%s: %v", c.Digest, err)
	}
	all := []string{c.Digest.String(), m.Config.Digest.String()}
	for _, l := range m.Layers {
		all = append(all, l.Digest.String())
	}
	return all
}

// TestSignedPulls takes away, replaces and floods signatures of an update over an
// installed tree. Every one is refused before anything below the tag is asked
// for, and the boot directory stays as it is to the byte.
func TestSignedPulls(t *testing.T) {
	r, tree, boot := newRecorder(t), t.TempDir(), t.TempDir()
	s := newSignedRepo(t, strings.TrimPrefix(r.URL, "http://"))
	other, otherPub := newKey(t)
	writeTree(t, tree, map[string]string{"vmlinuz": "kernel", "initrd.img": "ramdisk"})
	first := s.build(tree, "first")
	s.sign(first)
	a, err := trust.SignBundle(s.key, trust.Request{Subject: first, Repository: s.name()})
	if err != nil {
		t.Fatal(err)
	}
	old := a.Blobs[1]
	pullJSON(t, "--key", s.pub, s.ref(), "-d", boot)
	r.asked()
	pullJSON(t, "--key", s.pub, s.ref(), "-d", boot)
	if asked := r.asked(); len(asked) != 1 || asked[0] != "HEAD /v2/netboot/manifests/v" {
		t.Errorf("a pull of what was accepted asked %q, want one HEAD", asked)
	}

	flood := func(n int) (list []ocispec.Descriptor) {
		for i := range n {
			list = append(list, s.bundle(other, trust.Request{Subject: first, Annotations: map[string]string{"n": fmt.Sprint(i)}}))
		}
		return list
	}
	junk := flood(trust.MaxAttachments + 40)
	for _, tt := range []struct {
		name     string
		do       func(top ocispec.Descriptor)
		flags    []string
		says     string
		requests int // at most
		entry    bool
	}{
		{name: "unsigned", do: func(ocispec.Descriptor) {}, says: "is not signed", requests: 6},
		{name: "wrong key", do: s.sign, flags: []string{"--key", otherPub}, says: "none of the keys verifies it", requests: 8},
		{name: "stripped", do: func(top ocispec.Descriptor) {
			s.sign(top)
			s.do(http.MethodDelete, "manifests/"+referrersTag(top.Digest), "", nil)
		}, says: "is not signed", requests: 6},
		{name: "replayed", do: func(top ocispec.Descriptor) {
			s.do(http.MethodPut, "manifests/"+referrersTag(top.Digest), ocispec.MediaTypeImageIndex, s.get("manifests/"+referrersTag(first.Digest)))
		}, says: "a referrer of something else", requests: 8},
		{name: "replayed in a new wrapping", do: func(top ocispec.Descriptor) {
			s.list(top.Digest, s.oneLayer(top, old))
		}, says: "another image", requests: 8},
		{name: "replayed in the older form", do: func(top ocispec.Descriptor) {
			a, err := trust.SignSimple(s.key, trust.Request{Subject: first, Repository: s.name()}, nil)
			if err != nil {
				t.Fatal(err)
			}
			s.attachment(a.Manifest, a.Blobs...)
			s.do(http.MethodPut, "manifests/"+transport.AttachmentTag(top.Digest, "sig"), ocispec.MediaTypeImageManifest, a.Manifest)
		}, says: "another image", requests: 8},
		{name: "signed as another repository", do: func(top ocispec.Descriptor) {
			s.list(top.Digest, s.bundle(s.key, trust.Request{Subject: top, Repository: "registry.example/other"}))
		}, says: "made for the repository", requests: 8},
		{name: "by the hundred", do: func(top ocispec.Descriptor) {
			good := s.bundle(s.key, trust.Request{Subject: top})
			s.list(top.Digest, append(slices.Clone(junk), good)...)
		}, says: "more", requests: 6 + 2*trust.MaxAttachments},
		{name: "huge", do: func(top ocispec.Descriptor) {
			huge := bytes.Repeat([]byte(" "), trust.MaxBundleSize+1)
			s.list(top.Digest, s.oneLayer(top, huge))
		}, says: "permitted", requests: 7},
		{name: "signature of the entry alone", do: func(top ocispec.Descriptor) { s.sign(s.child(top)) }, says: "is not signed", requests: 6},
		{name: "entry swapped in storage", do: func(top ocispec.Descriptor) {
			s.sign(top)
			c := s.child(top)
			r.answer(map[string][]byte{"/v2/netboot/manifests/" + c.Digest.String(): s.get("manifests/" + s.child(first).Digest.String())})
		}, says: "digest", requests: 12, entry: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.t = t
			top := s.build(tree, tt.name)
			forbidden := s.below(top)
			if tt.entry {
				forbidden = forbidden[1:]
			}
			tt.do(top)
			if tt.flags == nil {
				tt.flags = []string{"--key", s.pub}
			}
			before := snapshot(t, boot)
			r.asked()
			code, out, errs := nbextract(t, append([]string{"pull", "--tls-verify=false", s.ref(), "-d", boot}, tt.flags...)...)
			asked := r.asked()
			r.answer(nil)
			if code != 3 || out != "" || !strings.Contains(errs, tt.says) {
				t.Errorf("exit %d, want 3 and %q\n%s%s", code, tt.says, out, errs)
			}
			for _, a := range asked {
				if slices.ContainsFunc(forbidden, func(d string) bool { return strings.HasSuffix(a, d) }) {
					t.Errorf("it asked %q, which is below what was refused", a)
				}
			}
			if len(asked) > tt.requests {
				t.Errorf("%d requests, want no more than %d: %q", len(asked), tt.requests, asked[:min(len(asked), 20)])
			}
			if after := snapshot(t, boot); !maps.Equal(before, after) {
				t.Errorf("the boot directory changed:\n%v\n%v", before, after)
			}
		})
	}
	s.t = t
	last := s.build(tree, "last")
	s.sign(last)
	if r := pullJSON(t, "--key", s.pub, s.ref(), "-d", boot); !r.Changed || r.IndexDigest != last.Digest.String() {
		t.Errorf("what is signed was not laid out after all: %+v", r)
	}
}

// oneLayer stores a manifest that says it is a bundle.
func (s *signedRepo) oneLayer(subject ocispec.Descriptor, body []byte) ocispec.Descriptor {
	s.t.Helper()
	empty := []byte("{}")
	manifest, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: trust.MediaTypeBundle,
		Config:  ocispec.Descriptor{MediaType: ocispec.MediaTypeEmptyJSON, Digest: digest.FromBytes(empty), Size: 2},
		Layers:  []ocispec.Descriptor{{MediaType: trust.MediaTypeBundle, Digest: digest.FromBytes(body), Size: int64(len(body))}},
		Subject: &subject,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return s.attachment(manifest, empty, body)
}

// TestSignedPullsAtDockerRegistry asks the real server, which knows no referrers.
func TestSignedPullsAtDockerRegistry(t *testing.T) {
	s := newSignedRepo(t, testserver.Registry(t, ""))
	_, otherPub := newKey(t)
	tree, boot := t.TempDir(), t.TempDir()
	writeTree(t, tree, map[string]string{"vmlinuz": "kernel", "initrd.img": "ramdisk"})
	top := s.build(tree, "v")
	pull := []string{"pull", "--tls-verify=false", s.ref(), "-d", boot, "--key"}
	if code, _, errs := nbextract(t, append(pull, s.pub)...); code != 3 || !strings.Contains(errs, "is not signed") {
		t.Errorf("unsigned: exit %d, %s", code, errs)
	}
	s.sign(top)
	if code, _, errs := nbextract(t, append(pull, otherPub)...); code != 3 || !strings.Contains(errs, "none of the keys") {
		t.Errorf("another key: exit %d, %s", code, errs)
	}
	if r := pullJSON(t, "--key", s.pub, s.ref(), "-d", boot); !r.Changed {
		t.Errorf("signed: %+v", r)
	}
	if r := pullJSON(t, "--key", s.pub, s.ref(), "-d", boot); r.Changed || r.Requests != 1 {
		t.Errorf("unchanged: %+v", r)
	}
}
