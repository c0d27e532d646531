package source

import (
	"bytes"
	"io"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// imageOf makes a layout with an image of layers, as container builders write
// them, and gives its name.
func imageOf(t *testing.T, labels map[string]string, layers ...[]string) string {
	t.Helper()
	img := empty.Image
	for _, things := range layers {
		b := tarOf(t, things...)
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil })
		if err != nil {
			t.Fatal(err)
		}
		if img, err = mutate.AppendLayers(img, l); err != nil {
			t.Fatal(err)
		}
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Config.Labels = "linux", "arm64", labels
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "layout")
	l, err := layout.Write(dir, empty.Index)
	if err == nil {
		err = l.AppendImage(img, layout.WithPlatform(v1.Platform{OS: "linux", Architecture: "arm64"}), layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "x"}))
	}
	if err != nil {
		t.Fatal(err)
	}
	return "oci:" + dir + ":x"
}

func newClient(t *testing.T) *transport.Client {
	t.Helper()
	c, err := transport.NewClient(transport.Options{TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// The SHA-256 of "shim" and "k", as sha256sum gives them.
const (
	sumShim = "04e666aa09809daf691a99cc7bf2d57ba09bac171966a71812ffd049d7c96bb1"
	sumK    = "8254c329a92850f6d539dd376f4816ee2764517da5e0235514af433164480d7a"
)

// TestContainerImage takes the files of an image as a container would see them.
func TestContainerImage(t *testing.T) {
	for _, tc := range []struct {
		name   string
		layers [][]string
		want   string
	}{
		{"whiteouts", [][]string{
			{"a/", "a/x=1", "a/y=2", "b/", "b/x=3", "c=4", "dev#"},
			{"a/.wh.x=", "b/", "b/.wh..wh..opq=", "b/z=5", ".wh.dev=", "c=6"},
		}, "a/ a/y=2 b/ b/z=5 c=6"},
		{"types change", [][]string{{"d/", "d/x=1", "f=2"}, {"d=file", "f/", "f/y=3"}}, "d=file f/ f/y=3"},
		{"links of entrypoints", [][]string{{"e/", "e/shimx64.efi=shim", "e/BOOT=shim", "e/grub=g", "BOOTL=other"}},
			"BOOTL=other e/ e/BOOT -> shimx64.efi e/grub=g e/shimx64.efi=shim"},
		{"hard link to a layer below", [][]string{{"x=1"}, {"y => x"}}, "x=1 y=1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := Options{Sources: []string{imageOf(t, nil, tc.layers...)}, Client: newClient(t)}
			if tc.name == "whiteouts" { // what is removed later is not taken, so nobody minds what it is
				o.Take = func(name string) bool { return name != "dev" }
			}
			s := open(t, o)
			if got := show(t, s); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
			if len(s.Facts()) != 0 {
				t.Errorf("says %s", says(s)) // the platform is that of the builder
			}
		})
	}
}

// TestNetbootImage holds a netboot image against its own list.
func TestNetbootImage(t *testing.T) {
	labels := map[string]string{spec.LabelVersion: spec.Version, spec.LabelOSName: "debian", spec.LabelEntrypoint: "e/shimx64.efi"}
	sums := "SHA256SUM=" + sumShim + "  e/shimx64.efi\n" + sumK + "  k\n"
	for _, tc := range []struct {
		name   string
		layers [][]string
		want   string
		err    string
	}{
		{"good", [][]string{{sums}, {"e/", "e/BOOT=shim", "e/shimx64.efi=shim", "k=k"}}, "e/ e/BOOT -> shimx64.efi e/shimx64.efi=shim k=k", ""},
		{"damaged", [][]string{{sums}, {"e/", "e/shimx64.efi=shim", "k=K"}}, "", "the image says"},
		{"unlisted", [][]string{{sums}, {"e/", "e/shimx64.efi=shim", "k=k", "z=1"}}, "", "not in the list"},
		{"whiteout", [][]string{{sums}, {"k=k"}, {".wh.k="}}, "", "whiteout"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := Options{Sources: []string{imageOf(t, labels, tc.layers...)}, Client: newClient(t)}
			if tc.err != "" {
				if _, err := Open(t.Context(), o); exitCode(err) != 3 || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("code %d, error %v", exitCode(err), err)
				}
				return
			}
			s := open(t, o)
			if got := show(t, s); got != tc.want {
				t.Errorf("got %s", got)
			}
			if got := says(s); got != "os.name=debian platform=linux/arm64 entrypoint=e/shimx64.efi" {
				t.Errorf("says %s", got)
			}
		})
	}
	if _, err := Open(t.Context(), Options{Sources: []string{"oci:x"}}); exitCode(err) != 2 {
		t.Errorf("without a client: %v", err)
	}
}
