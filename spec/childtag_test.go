package spec

import "testing"

// TestMayBeChildTag: every tag that ChildTag makes may be a child's, and one that only begins
// like another may not.
func TestMayBeChildTag(t *testing.T) {
	arm, err := ParsePlatform("linux/arm/v7")
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{"fedora-42": true, "7": true}
	for tag, want := range map[string]bool{
		ChildTag("fedora-42", arm, DiskTypeNetboot): true,
		ChildTag("fedora-42", arm, "qcow2"):         true,
		"7-rc1":                                     true, "fedora-42-": true,
		"fedora-42": false, "fedora-421-amd64": false, "fedora-41-amd64": false, "-7": false, "": false,
	} {
		if got := MayBeChildTag(tag, there); got != want {
			t.Errorf("%q: %v", tag, got)
		}
	}
	if got := ChildTag("fedora-42", arm, "qcow2"); got != "fedora-42-armv7-qcow2" {
		t.Errorf("%q", got)
	}
}
