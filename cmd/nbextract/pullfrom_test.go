package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestNetworkComesLater pulls from a bundle, for which the registry is asked
// nothing, and then from the registry, which is asked one question: the record is
// that of the same reference.
func TestNetworkComesLater(t *testing.T) {
	nbpack := nbpackPath(t)
	r, tree, work := newRecorder(t), t.TempDir(), t.TempDir()
	writeTree(t, tree, map[string]string{"vmlinuz": "kernel", "initrd.img": "initrd"})
	build(t, nbpack, tree, r.ref("v"))
	bundle, boot := "oci:"+filepath.Join(work, "bundle"), filepath.Join(work, "boot")
	fill := func(verb string) {
		t.Helper()
		if out, err := exec.Command(nbpack, "bundle", verb, "--tls-verify=false", bundle, r.ref("v")).CombinedOutput(); err != nil {
			t.Fatalf("nbpack bundle %s: %v\n%s", verb, err, out)
		}
		r.asked()
	}
	fill("create")
	if first := pullJSON(t, "--from", bundle, r.ref("v"), "-d", boot); !first.Changed || first.Requests != 0 || first.Bytes.Fetched != 0 || first.Reference != r.ref("v") {
		t.Errorf("from the bundle: %+v", first)
	}
	if asked := r.asked(); len(asked) != 0 {
		t.Errorf("from the bundle the registry was asked %q", asked)
	}
	if later := pullJSON(t, r.ref("v"), "-d", boot); later.Changed || later.Requests != 1 {
		t.Errorf("from the registry: %+v", later)
	}
	if asked := r.asked(); len(asked) != 1 || !strings.HasPrefix(asked[0], "HEAD ") {
		t.Errorf("the registry was asked %q, want one HEAD", asked)
	}

	// The other way round: what came from the registry is what the bundle says.
	writeTree(t, tree, map[string]string{"vmlinuz": "kernel of tomorrow"})
	build(t, nbpack, tree, r.ref("v"))
	fill("add")
	if newer := pullJSON(t, r.ref("v"), "-d", boot); !newer.Changed || newer.Files.Written == 0 {
		t.Errorf("a newer one from the registry: %+v", newer)
	}
	r.asked()
	if same := pullJSON(t, "--from", bundle, r.ref("v"), "-d", boot); same.Changed || same.Requests != 0 {
		t.Errorf("the same from the bundle: %+v", same)
	}
	if asked := r.asked(); len(asked) != 0 {
		t.Errorf("from the bundle the registry was asked %q", asked)
	}
}
