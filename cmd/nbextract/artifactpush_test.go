package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/spec"
)

// put sends a blob or a manifest to a registry in one request.
func put(t *testing.T, registry, path, mediaType string, body []byte) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPut, registry+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", mediaType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("PUT %s: %s", path, resp.Status)
	}
}

// blob stores a blob in the repository of the tests.
func (r *recorder) blob(t *testing.T, mediaType string, body []byte) ocispec.Descriptor {
	t.Helper()
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(body), Size: int64(len(body))}
	resp, err := http.Post(r.URL+"/v2/netboot/blobs/uploads/", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	put(t, r.URL, strings.TrimPrefix(resp.Header.Get("Location"), r.URL)+"?digest="+d.Digest.String(), "application/octet-stream", body)
	return d
}

// artifact is one that other programs push, as their documents were seen.
type artifact struct {
	kind        string // artifactType
	mediaType   string // of the layers
	annotations map[string]string
	names       []string // of the files, in order
	files       map[string]string
}

// push stores an artifact under a tag, or by digest alone.
func (r *recorder) pushArtifact(t *testing.T, tag string, a artifact) ocispec.Descriptor {
	t.Helper()
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		ArtifactType: a.kind, Config: ocispec.DescriptorEmptyJSON, Annotations: a.annotations,
	}
	r.blob(t, ocispec.MediaTypeEmptyJSON, []byte("{}"))
	for _, name := range a.names {
		body := []byte(a.files[name])
		notes := map[string]string{ocispec.AnnotationTitle: name}
		if a.mediaType == spec.MediaTypeFileZstd {
			notes[spec.AnnotationSrcDigest] = digest.FromBytes(body).String()
			notes[spec.AnnotationSrcSize] = fmt.Sprint(len(body))
			body = compressed(t, body)
		}
		d := r.blob(t, a.mediaType, body)
		d.Annotations = notes
		m.Layers = append(m.Layers, d)
	}
	body, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	d := ocispec.Descriptor{MediaType: m.MediaType, ArtifactType: a.kind, Digest: digest.FromBytes(body), Size: int64(len(body))}
	if tag == "" {
		tag = d.Digest.String()
	}
	put(t, r.URL, "/v2/netboot/manifests/"+tag, m.MediaType, body)
	return d
}

func compressed(t *testing.T, body []byte) []byte {
	t.Helper()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	return enc.EncodeAll(body, nil)
}

// specArtifact is a netboot artifact with a boot set.
func specArtifact(files map[string]string) artifact {
	return artifact{
		kind: spec.ArtifactType, mediaType: spec.MediaTypeFile, names: []string{"efi/grubx64.efi", "efi/shimx64.efi", "initrd.img", "linux", "vmlinuz"}, files: files,
		annotations: map[string]string{
			spec.LabelVersion: "1", spec.LabelOSName: "d", spec.LabelOSVersion: "1", spec.LabelOSArch: "amd64",
			spec.LabelEntrypoint: "efi/shimx64.efi", spec.LabelAltEntrypoint: "efi/grubx64.efi", spec.AnnotationDiskType: spec.DiskTypeNetboot,
		},
	}
}

func bootFiles() map[string]string {
	return map[string]string{
		"efi/grubx64.efi": "grub", "efi/shimx64.efi": "shim", "initrd.img": strings.Repeat("initrd ", 20000), "linux": "kernel", "vmlinuz": "kernel",
	}
}
