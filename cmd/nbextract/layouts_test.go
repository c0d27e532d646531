package main

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/nbpack/nbpack/extract"
)

// TestSeveralLayoutsUnchanged: a tag that did not move is one question, in however many
// layouts its image stands, with menus too.
func TestSeveralLayoutsUnchanged(t *testing.T) {
	nbpack := nbpackPath(t)
	r, tree, boot := newRecorder(t), t.TempDir(), t.TempDir()
	writeTree(t, tree, map[string]string{"vmlinuz": "kernel", "initrd.img": "initrd", "shimx64.efi": "shim", "grubx64.efi": "grub"})
	build(t, nbpack, tree, r.ref("v"))
	pull := func(flags ...string) (report extract.Report) {
		t.Helper()
		r.asked()
		code, out, errs := nbextract(t, append([]string{"pull", "--json", "--tls-verify=false", r.ref("v"), "-d", boot,
			"--layout", "default", "--layout", "foreman", "--layout", "cobbler"}, flags...)...)
		if err := json.Unmarshal([]byte(out), &report); code != 0 || err != nil || len(report.Trees) != 3 {
			t.Fatalf("exit %d, %v: %s\n%s", code, err, out, errs)
		}
		return report
	}
	if first := pull("--menu", "ipxe"); !first.Trees[0].Changed || !slices.Equal(first.Menus, []string{"boot.ipxe"}) {
		t.Errorf("%+v", first)
	}
	second := pull()
	if asked := r.asked(); !slices.Equal(asked, []string{"HEAD /v2/netboot/manifests/v"}) {
		t.Errorf("asked %q", asked)
	}
	requests := 0
	for _, tree := range second.Trees {
		if requests += tree.Requests; tree.Changed || tree.Files.Written != 0 {
			t.Errorf("%+v", tree)
		}
	}
	if requests != 1 || second.Menus != nil {
		t.Errorf("%d requests, menus %q", requests, second.Menus)
	}
	_, out, _ := nbextract(t, "status", "--json", "-d", boot)
	var status struct {
		Trees []extract.TreeStatus `json:"trees"`
	}
	if err := json.Unmarshal([]byte(out), &status); err != nil || len(status.Trees) != 3 || status.Trees[1].Layout != "default" {
		t.Errorf("status: %v %s", err, out)
	}
}
