package index

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestLint writes indexes by hand. NETBOOT, CONTAINER, DISK and NOBOOT stand for
// the media type, digest and size of content in the repository, GONE for what is
// not in it.
func TestLint(t *testing.T) {
	f := newFakeRepo(t)
	labelled := configFor("amd64")
	labelled.Config.Labels = map[string]string{spec.LabelVersion: "1"}
	names := func(d ocispec.Descriptor) string {
		return fmt.Sprintf(`"mediaType":%q,"digest":%q,"size":%d`, d.MediaType, d.Digest, d.Size)
	}
	netboot, container := f.image("netboot", labelled, nil), f.image("container", configFor("amd64"), nil)
	disk := f.image("disk", ocispec.Image{}, artifact(spec.FileArtifactType, titled(spec.MediaTypeFile, "d.raw")))
	gone := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("gone"), Size: 4}
	words := strings.NewReplacer("NETBOOT", names(netboot), "CONTAINER", names(container), "DISK", names(disk), "GONE", names(gone),
		"AMD64", `"platform":{"os":"linux","architecture":"amd64"}`, "MARKS", `"annotations":{"disktype":"netboot","org.pulpproject.netboot.version":"1"}`)
	const marked = `,"annotations":{"org.pulpproject.netboot.version":"1"}`
	for _, test := range []struct {
		name, entries, rest string
		want                []string // rule and entry
	}{
		{"empty", ``, ``, nil},
		{"good", `{CONTAINER,AMD64,"annotations":{"disktype":"container"}},{NETBOOT,AMD64,MARKS},{DISK,AMD64,"annotations":{"disktype":"raw"}}`, marked, nil},
		{"no marks", `{NETBOOT,AMD64,"annotations":{"disktype":"netboot"}}`, ``, []string{"index-mark netboot", "index-mark"}},
		{"no disktype", `{NETBOOT,AMD64,"annotations":{"org.pulpproject.netboot.version":"1"}},{DISK,AMD64}`, marked, []string{"index-disktype netboot", "index-disktype disk"}},
		{"wrong disktype", `{NETBOOT,AMD64,"annotations":{"disktype":"raw","org.pulpproject.netboot.version":"1"}}`, marked, []string{"index-disktype netboot"}},
		{"no platform", `{NETBOOT,MARKS},{DISK,"annotations":{"disktype":"raw"}}`, marked, []string{"index-platform netboot", "index-platform disk"}},
		{"unknown platform", `{NETBOOT,MARKS,"platform":{"os":"unknown","architecture":"unknown"}},{DISK,"platform":{"os":"unknown","architecture":"unknown"},"annotations":{"disktype":"x"}}`, marked,
			[]string{"index-platform netboot"}},
		{"null", `{CONTAINER,"platform":null,"annotations":null}`, ``, []string{"index-form container", "index-form container", "index-platform container", "index-disktype container"}},
		{"artifactType", ``, `,"artifactType":"a/b"`, []string{"index-form"}},
		{"order", `{NETBOOT,AMD64,MARKS},{DISK,AMD64,"annotations":{"disktype":"raw"}},{CONTAINER,AMD64,"annotations":{"disktype":"container"}}`, marked,
			[]string{"index-order netboot", "index-order disk"}},
		{"order of others", `{NETBOOT,AMD64,MARKS},{CONTAINER,"platform":{"os":"linux","architecture":"arm64"},"annotations":{"disktype":"container"}}`, marked, nil},
		{"twice", `{NETBOOT,AMD64,MARKS},{NETBOOT,AMD64,MARKS}`, marked, []string{"index-twice netboot"}},
		{"two versions", `{NETBOOT,AMD64,MARKS},{NETBOOT,MARKS,"platform":{"os":"linux","architecture":"amd64","os.version":"x-2"}}`, marked, nil},
		{"two disks", `{DISK,AMD64,"annotations":{"disktype":"raw"}},{DISK,AMD64,"annotations":{"disktype":"raw","x":"y"}}`, ``, nil},
		{"missing", `{GONE,AMD64,MARKS},{GONE,AMD64,"annotations":{"disktype":"raw"}}`, marked, []string{"document-missing gone"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			body := []byte(words.Replace(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[` + test.entries + `]` + test.rest + `}`))
			d := f.set("v1", ocispec.MediaTypeImageIndex, body)
			l, err := Inspect(t.Context(), repoReader{f}, d, body)
			if err != nil {
				t.Fatal(err)
			}
			found, err := Lint(l, body)
			if err != nil {
				t.Fatal(err)
			}
			which := map[string]string{"": "", netboot.Digest.String(): " netboot", container.Digest.String(): " container", disk.Digest.String(): " disk", gone.Digest.String(): " gone"}
			var got []string
			for _, v := range found {
				got = append(got, v.Rule+which[v.Path])
				if v.Message == "" || v.Severity == "" {
					t.Errorf("violation %+v", v)
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
			for _, b := range l.BootSets() {
				if b.Digest != netboot.Digest {
					t.Errorf("%s counts as a boot set", which[b.Digest.String()])
				}
			}
		})
	}
}
