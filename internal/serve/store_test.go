//go:build linux

package serve

import (
	"errors"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nbpack/nbpack/internal/bootdir"
)

// testStore is a store over dir with a clock that stands still.
type testStore struct {
	*store
	t     testing.TB
	clock time.Time
	warns []string
}

func newTestStore(t testing.TB, dir string) *testStore {
	t.Helper()
	r, err := openRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	ts := &testStore{t: t, clock: time.Unix(1e9, 0)}
	v := &view{dir: dir}
	ts.store = &store{
		root: r, view: v, pins: newPins(DefaultHold, maxPins, v.hold, func() time.Time { return ts.clock }),
		warn: func(format string, _ ...any) { ts.warns = append(ts.warns, format) },
	}
	t.Cleanup(func() { ts.pins.close(); r.close() })
	return ts
}

// get is what a client gets; the empty string stands for not found.
func (ts *testStore) get(client, name string) string {
	ts.t.Helper()
	f, err := ts.open(netip.MustParseAddr(client), name, true)
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if err != nil {
		ts.t.Fatalf("%s: %v", name, err)
	}
	defer f.Close()
	if f.info.IsDir() {
		return "directory"
	}
	b, err := io.ReadAll(f)
	if err != nil {
		ts.t.Fatal(err)
	}
	return string(b)
}

func (ts *testStore) want(client, name, want string) {
	ts.t.Helper()
	if got := ts.get(client, name); got != want {
		ts.t.Errorf("%s gets %q for %q, want %q", client, got, name, want)
	}
}

// TestGenerationStays: in every form of a live tree, who began with a generation
// gets the rest of it, and who comes later the new one.
func TestGenerationStays(t *testing.T) {
	older := content{"linux": "old linux", "initrd": "old initrd", "BOOT": "-> shim", "shim": "old shim", "gone": "old gone", "d/x": "old x"}
	newer := content{"linux": "new linux", "initrd": "new initrd", "BOOT": "-> shim2", "shim2": "new shim", "added": "new added", "e/y": "new y", "l": "-> added"}
	for _, c := range []struct {
		name, live string
		mode       bootdir.LiveMode
	}{
		{"directory", "os/debian/12/amd64", bootdir.ModeDir},
		{"link", "os/debian/12/amd64", bootdir.ModeLink},
		{"flat", bootdir.FlatLive, bootdir.ModeDir},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			install(t, dir, c.live, c.mode, older)
			ts := newTestStore(t, dir)
			at := func(p string) string { return c.live + "//" + p }
			ts.want("192.0.2.1", at("linux"), "old linux")
			install(t, dir, c.live, c.mode, newer)
			for name, want := range map[string]string{
				"initrd": "old initrd", "BOOT": "old shim", "gone": "old gone", "d/x": "old x",
				"added": "", "e/y": "", "shim2": "", "l": "",
			} {
				ts.want("192.0.2.1", at(name), want)
			}
			for name, want := range map[string]string{
				"initrd": "new initrd", "BOOT": "new shim", "gone": "", "added": "new added", "e/y": "new y", "shim": "", "l": "new added",
			} {
				ts.want("192.0.2.2", at(name), want)
			}
			// Long after the last request the machine is taken to boot anew.
			ts.clock = ts.clock.Add(DefaultHold + time.Second)
			ts.want("192.0.2.1", at("initrd"), "new initrd")
			if len(ts.warns) > 0 {
				t.Errorf("warnings: %q", ts.warns)
			}
		})
	}
}

// TestSite: files of the site are served as they are now, inside trees and outside.
func TestSite(t *testing.T) {
	dir := t.TempDir()
	live := "os/debian/12/amd64"
	install(t, dir, live, bootdir.ModeDir, content{"linux": "old", "grub/font": "f", "was": "image's"})
	write(t, dir, live+"/grub/grub.cfg", "menu 1")
	write(t, dir, "pxelinux.cfg/default", "menu")
	if err := os.Symlink(live, filepath.Join(dir, "current")); err != nil {
		t.Fatal(err)
	}
	ts := newTestStore(t, dir)
	ts.want("192.0.2.1", live+"/linux", "old")
	ts.want("192.0.2.1", live+"/grub/grub.cfg", "menu 1")
	install(t, dir, live, bootdir.ModeDir, content{"linux": "new"})
	write(t, dir, live+"/grub/grub.cfg", "menu 2")
	write(t, dir, live+"/was", "site's")
	ts.want("192.0.2.1", live+"/grub/grub.cfg", "menu 2")
	ts.want("192.0.2.1", live+"/was", "image's")
	ts.want("192.0.2.2", live+"/was", "site's")
	ts.want("192.0.2.1", "/pxelinux.cfg/default", "menu")
	// A link of the site into a tree is a way to the same generation.
	ts.want("192.0.2.1", "current/linux", "old")
	ts.want("192.0.2.3", "current/linux", "new")
}

// TestInside: nothing outside the directory, and nothing hidden in it.
func TestInside(t *testing.T) {
	outside := t.TempDir()
	write(t, outside, "secret", "secret")
	dir := filepath.Join(outside, "tftp")
	digest := install(t, dir, "a", bootdir.ModeDir, content{"linux": "linux"})
	write(t, dir, ".git/config", "hidden")
	write(t, dir, "sub/.htpasswd", "hidden")
	for name, target := range map[string]string{
		"up": "../secret", "abs": filepath.Join(outside, "secret"), "etc": "/etc/passwd", "state": ".nbextract/lock",
		"loop": "loop", "inside": "sub/../a/linux", "top": "a/../../tftp/a/linux",
	} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	ts := newTestStore(t, dir)
	for _, name := range []string{
		"up", "abs", "etc", "state", "loop", "top", "../secret", "a/../../secret", ".nbextract/lock", ".nbextract", "a/../.nbextract/lock",
		".git/config", "sub/.htpasswd", "a/linux/", "a/linux/x", "nothing", "a/\x00", "..", "\\..\\secret", "by-digest/../.nbextract/lock",
	} {
		if got := ts.get("192.0.2.1", name); got != "" && got != "directory" && (name != "a/linux/" || got != "linux") {
			t.Errorf("%q gives %q", name, got)
		}
	}
	ts.want("192.0.2.1", ".nbextract", "")
	ts.want("192.0.2.1", "inside", "linux")
	ts.want("192.0.2.1", "by-digest/"+hexOf(digest)+"/linux", "linux")
}

// TestPinnedGenerationIsKept: prune leaves what a client needs, whichever process
// runs it, and takes it when the client's time is over.
func TestPinnedGenerationIsKept(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	o := bootdir.Options{Keep: 1, Grace: time.Minute, Now: func() time.Time { return now }}
	must := func(_ string, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(tryInstall(dir, "a", bootdir.ModeDir, content{"linux": "1", "initrd": "1"}, o))
	ts := newTestStore(t, dir)
	ts.want("192.0.2.1", "a/linux", "1")
	must(tryInstall(dir, "a", bootdir.ModeDir, content{"linux": "2", "initrd": "2"}, o))
	now = now.Add(time.Hour)
	must(tryInstall(dir, "a", bootdir.ModeDir, content{"linux": "3", "initrd": "3"}, o)) // prunes
	ts.want("192.0.2.1", "a/initrd", "1")
	if c := ts.pins.counts(); c.pins != 1 || c.generations != 1 || c.early != 0 {
		t.Errorf("counts %+v", c)
	}
	ts.clock = ts.clock.Add(DefaultHold + 1)
	ts.pins.sweep()
	if c := ts.pins.counts(); c.pins != 0 || c.generations != 0 {
		t.Errorf("counts after the sweep %+v", c)
	}
	now = now.Add(time.Hour)
	must(tryInstall(dir, "a", bootdir.ModeDir, content{"linux": "4", "initrd": "4"}, o))
	if names, err := filepath.Glob(filepath.Join(dir, "by-digest", "*")); err != nil || len(names) != 2 {
		t.Errorf("left %q, %v; want the live one and the one of the last hour", names, err)
	}
}

// TestGenerationRemovedByHand: a pin ends when there is nothing left to serve.
func TestGenerationRemovedByHand(t *testing.T) {
	dir := t.TempDir()
	first := install(t, dir, "a", bootdir.ModeDir, content{"linux": "1"})
	ts := newTestStore(t, dir)
	ts.want("192.0.2.1", "a/linux", "1")
	install(t, dir, "a", bootdir.ModeDir, content{"linux": "2"})
	if err := os.RemoveAll(filepath.Join(dir, "by-digest", hexOf(first))); err != nil {
		t.Fatal(err)
	}
	ts.want("192.0.2.1", "a/linux", "2")
	if c := ts.pins.counts(); c.early != 1 {
		t.Errorf("counts %+v", c)
	}
	if err := os.RemoveAll(filepath.Join(dir, "by-digest")); err != nil {
		t.Fatal(err)
	}
	ts.want("192.0.2.1", "a/linux", "2")
	ts.want("192.0.2.2", "a/linux", "2")
	if len(ts.warns) == 0 {
		t.Error("nobody was told that nothing protects machines")
	}
}

// TestPinTimes: when a pin ends, and when not.
func TestPinTimes(t *testing.T) {
	clock := time.Unix(1e9, 0)
	closed := 0
	p := newPins(10*time.Minute, 2, func(string) (io.Closer, error) { return closer(func() { closed++ }), nil }, func() time.Time { return clock })
	key := func(n byte) pinKey { return pinKey{netip.AddrFrom4([4]byte{192, 0, 2, n}), "a"} }
	take := func(n byte, live, want string) {
		t.Helper()
		if got, err := p.take(key(n), live); err != nil || got != want {
			t.Errorf("client %d gets %q, %v; want %q", n, got, err, want)
		}
	}
	take(1, "old", "old")
	for range 4 { // asks again in time, until it is too old
		clock = clock.Add(9 * time.Minute)
		take(1, "new", "old")
	}
	clock = clock.Add(9 * time.Minute)
	take(1, "new", "new")
	if closed != 1 {
		t.Errorf("the old generation was let go %d times", closed)
	}
	end := p.begin(key(1))
	clock = clock.Add(2 * time.Hour) // a slow machine
	p.sweep()
	take(1, "newer", "new")
	end()
	take(1, "newer", "newer")
	// More clients than there is room for.
	take(2, "newer", "newer")
	take(3, "newer", "newer")
	if got := p.peek(key(1)); got != "" {
		t.Errorf("the one longest unused still has %q", got)
	}
	if c := p.counts(); c.pins != 2 || c.generations != 1 || c.pushed != 1 {
		t.Errorf("counts %+v", c)
	}
}

type closer func()

func (c closer) Close() error { c(); return nil }

// TestArrangedGenerationStays: the same for a tree with names of its own, and for what
// stands beside it.
func TestArrangedGenerationStays(t *testing.T) {
	names := map[string]string{"vmlinuz": "linux", "efi/grubx64.efi": "grub", "efi/boot.efi": "-> grubx64.efi", "old": "old", "new": "new",
		"/shared/kernel": "linux", "/pxelinux.0": "-> os/1/vmlinuz", "/gone": "old"}
	dir := t.TempDir()
	put := func(files content) string {
		t.Helper()
		digest, err := tryArranged(dir, "os/1", bootdir.ModeDir, names, files, bootdir.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return digest
	}
	put(content{"linux": "old linux", "grub": "old grub", "old": "old"})
	write(t, dir, "os/1/grub.cfg", "menu")
	ts := newTestStore(t, dir)
	ts.want("192.0.2.1", "os/1/vmlinuz", "old linux")
	ts.want("192.0.2.3", "shared/kernel", "old linux") // begins beside the tree
	put(content{"linux": "new linux", "grub": "new grub", "new": "new"})
	for client, version := range map[string]string{"192.0.2.1": "old", "192.0.2.2": "new", "192.0.2.3": "old"} {
		for name, want := range map[string]string{
			"os/1/vmlinuz": version + " linux", "os/1/efi/grubx64.efi": version + " grub", "os/1/efi/boot.efi": version + " grub",
			"shared/kernel": version + " linux", "pxelinux.0": version + " linux", "os/1/grub.cfg": "menu", "os/1/linux": "",
			"os/1": "directory", "shared": "directory", "os/1/nothing": "",
		} {
			ts.want(client, name, want)
		}
	}
	ts.want("192.0.2.1", "os/1/old", "old")
	ts.want("192.0.2.1", "os/1/new", "")
	ts.want("192.0.2.1", "gone", "old")
	ts.want("192.0.2.2", "os/1/old", "")
	ts.want("192.0.2.2", "os/1/new", "new")
	ts.want("192.0.2.2", "gone", "")
	if len(ts.warns) > 0 {
		t.Errorf("warnings: %q", ts.warns)
	}
}
