package bootdir

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nbpack/nbpack/spec"
)

// sampleJournal is a valid journal for seeds.
func sampleJournal() *journal {
	hex := strings.Repeat("ab", 32)
	img := &Image{Digest: "sha256:" + hex, Entries: []spec.Entry{
		{Path: "efi", Type: spec.TypeDir}, {Path: "efi/BOOT", Type: spec.TypeSymlink, Target: "shim.efi"},
		{Path: "efi/shim.efi", Type: spec.TypeFile, Size: 3, SHA256: hex}}}
	tree := &Tree{Version: recordVersion, Live: "os/1/amd64", Digest: img.Digest, Mode: ModeDir, Units: []string{"os/1/amd64"},
		History: []Generation{{Digest: img.Digest, Installed: time.Unix(1, 0).UTC()}},
		Files:   []FileState{{Path: "efi/shim.efi", Inode: 7, Size: 3}}}
	return &journal{Version: journalVersion, ID: "0123456789abcdef", Generation: hex, Image: img,
		Units: []unit{{Path: generationsName + "/" + hex, Staged: stagedGeneration, Inode: 5, Generation: true},
			{Path: "os/1/amd64", Staged: stagedLive, Inode: 6}},
		Parents: []string{"os", "os/1", generationsName}, Parts: []part{{Tree: tree, Old: []managedPath{{"gone", false}},
			Strangers: []strangerSeen{{Path: []byte("grub.cfg\xff"), Inode: 9}}}}}
}

func seeds(f *testing.F, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	for _, r := range []string{`"version":1>"version":2`, `os/1/amd64>../../etc`, `os/1/amd64>by-digest/x`, `shim.efi>/etc/passwd`,
		`"gen">"../../x"`, `0123456789abcdef>../../../../etc/`, `sha256:>md5:`, `"units">"Units"`, `}>`} {
		old, new, _ := strings.Cut(r, ">")
		f.Add([]byte(strings.ReplaceAll(string(b), old, new)))
	}
	f.Add([]byte(`{}`))
	f.Add([]byte(`null`))
}

func FuzzJournal(f *testing.F) {
	seeds(f, sampleJournal())
	f.Fuzz(func(t *testing.T, b []byte) {
		j, err := decodeJournal(b)
		if err != nil {
			return
		}
		for _, u := range j.Units {
			if spec.CheckPath(u.Path) != nil && !u.Generation || strings.Contains(u.Path+"/"+u.Staged, "..") && strings.Contains("/"+u.Path+"/"+u.Staged+"/", "/../") {
				t.Errorf("accepted the unit %+v", u)
			}
		}
	})
}

func FuzzTreeRecord(f *testing.F) {
	seeds(f, sampleJournal().Parts[0].Tree)
	f.Fuzz(func(t *testing.T, b []byte) {
		var tree Tree
		if decodeRecord(b, &tree, func() error { return checkTree(&tree) }) == nil && checkLiveName(tree.Live) != nil {
			t.Errorf("accepted the live path %q", tree.Live)
		}
	})
}

func FuzzImageRecord(f *testing.F) {
	seeds(f, sampleJournal().Image)
	f.Fuzz(func(t *testing.T, b []byte) {
		var img Image
		if decodeRecord(b, &img, func() error { return checkImage(&img) }) != nil {
			return
		}
		for _, e := range img.Entries {
			if err := spec.CheckPath(e.Path); err != nil {
				t.Errorf("accepted %v", err)
			}
		}
	})
}

// TestJournalChecks makes sure that the sample is good and each change is not.
func TestJournalChecks(t *testing.T) {
	if err := sampleJournal().check(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(j *journal){
		"version":         func(j *journal) { j.Version++ },
		"id":              func(j *journal) { j.ID = "../../../../../etc" },
		"generation":      func(j *journal) { j.Generation = strings.Repeat("cd", 32) },
		"no tree":         func(j *journal) { j.Parts[0].Tree = nil },
		"no image":        func(j *journal) { j.Image = nil },
		"unit elsewhere":  func(j *journal) { j.Units[1].Path = "os/2" },
		"unit in state":   func(j *journal) { j.Units[1].Path = ".nbextract" },
		"staged above":    func(j *journal) { j.Units[1].Staged = "../../x" },
		"generation unit": func(j *journal) { j.Units[0].Path = "by-digest/../os" },
		"parent":          func(j *journal) { j.Parents[0] = "../x" },
		"old path":        func(j *journal) { j.Parts[0].Old[0].Path = "/etc" },
		"flat sub-path":   func(j *journal) { j.Parts[0].Tree.Live = FlatLive },
		"entry order":     func(j *journal) { e := j.Image.Entries; e[0], e[1] = e[1], e[0] },
		"link outside":    func(j *journal) { j.Image.Entries[1].Target = "../../x" },
		"bad hash":        func(j *journal) { j.Image.Entries[2].SHA256 = "x" },
		"no history":      func(j *journal) { j.Parts[0].Tree.History = nil },
	} {
		j := sampleJournal()
		spoil(j)
		if err := j.check(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
