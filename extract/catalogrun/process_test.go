package catalogrun

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/internal/testshelf"
)

// shared is the directory of what tests share.
var shared string

// program builds nbextract once for the tests that need a process.
var program = sync.OnceValues(func() (string, error) {
	bin := filepath.Join(shared, "nbextract")
	cmd := exec.Command("go", "build", "-o", bin, "../../cmd/nbextract")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build nbextract: %w\n%s", err, out)
	}
	return bin, nil
})

// TestMain removes what tests share.
func TestMain(m *testing.M) {
	var err error
	if shared, err = os.MkdirTemp("", "nbextract-sync-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(shared)
	os.Exit(code)
}

// nbextract prepares the program with a home of its own.
func nbextract(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "XDG_RUNTIME_DIR=", "REGISTRY_AUTH_FILE=")
	return cmd
}

// catalogFile writes a catalogue.
func catalogFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "catalog.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestSyncTwentyAtOnce: one works, the others say that it does, or wait for it.
func TestSyncTwentyAtOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program")
	}
	reg := testshelf.New(t)
	reg.Push("a", "v", testshelf.Boot{Version: "1"})
	dir := filepath.Join(t.TempDir(), "boot")
	file := catalogFile(t, fmt.Sprintf("destination: %s\ntls-verify: false\nimages:\n- ref: '%s/a:v'\n", dir, reg.Host()))
	release := make(chan struct{})
	var held sync.Once
	reg.Breaks(func(http.ResponseWriter, *http.Request) bool {
		held.Do(func() { <-release }) // whoever has the lock waits here for the others
		return false
	})
	const runs = 20
	ended := make(chan int, runs)
	for range runs {
		cmd := nbextract(t, "sync", "-c", file)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go func() {
			_ = cmd.Wait()
			ended <- cmd.ProcessState.ExitCode()
		}()
	}
	codes := map[int]int{}
	for i := range runs {
		if i == runs-1 {
			close(release)
		}
		codes[<-ended]++
	}
	if codes[75] != runs-1 || codes[0] != 1 {
		t.Errorf("exit codes: %v", codes)
	}
	reg.Breaks(nil)
	var g sync.WaitGroup
	for range runs {
		cmd := nbextract(t, "sync", "-c", file, "--wait")
		g.Go(func() {
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("with --wait: %v\n%s", err, out)
			}
		})
	}
	g.Wait()
}

// TestSyncKilled kills a sync of several trees at many moments: each tree is old
// or new, and the next run brings all of them up to date and leaves nothing.
func TestSyncKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program and kills it many times")
	}
	const trees, points = 6, 24
	reg := testshelf.New(t)
	text := "tls-verify: false\nimages:\n"
	for i := range trees {
		text += fmt.Sprintf("- ref: '%s/a:v%d'\n", reg.Host(), i)
	}
	content := func(tree, version int) map[string]string {
		files := map[string]string{}
		for _, name := range []string{"vmlinuz", "initrd.img", "efi/shim.efi"} {
			files[name] = fmt.Sprintf("%s of %d, version %d", name, tree, version)
		}
		return files
	}
	dir := filepath.Join(t.TempDir(), "boot")
	file := catalogFile(t, "destination: "+dir+"\n"+text)
	push := func(version int) {
		for i := range trees {
			reg.Push("a", fmt.Sprint("v", i), testshelf.Boot{Version: fmt.Sprint(i), Files: content(i, version)})
		}
	}
	// is tells which version a tree shows, -1 for a mixture.
	is := func(tree, version int) bool {
		for name, want := range content(tree, version) {
			got, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("os/%d/amd64", tree), name))
			if err != nil || string(got) != want {
				return false
			}
		}
		return true
	}
	push(0)
	if out, err := nbextract(t, "sync", "-c", file).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	push(1)
	began := time.Now()
	if out, err := nbextract(t, "sync", "-c", file).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	length := time.Since(began)
	killed := 0
	for n := range points {
		version := n + 2
		push(version)
		cmd := nbextract(t, "sync", "-c", file)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill := time.AfterFunc(length*time.Duration(n+1)/points, func() { _ = cmd.Process.Kill() })
		if err := cmd.Wait(); err != nil {
			killed++
		}
		kill.Stop()
		for i := range trees {
			if !is(i, version) && !is(i, version-1) {
				t.Fatalf("point %d: tree %d is neither old nor new", n, i)
			}
		}
		if out, err := nbextract(t, "sync", "-c", file).CombinedOutput(); err != nil {
			t.Fatalf("point %d: the next run: %v\n%s", n, err, out)
		}
		for i := range trees {
			if !is(i, version) {
				t.Fatalf("point %d: tree %d is not new after the next run", n, i)
			}
		}
		for _, kind := range []string{"stage", "partial", "kept", "journal", "tmp-*"} {
			if left, _ := filepath.Glob(filepath.Join(dir, ".nbextract", kind, "*")); len(left) > 0 {
				t.Fatalf("point %d left %q", n, left)
			}
		}
	}
	t.Logf("%d of %d runs were cut off", killed, points)
	list, err := extract.Verify(t.Context(), dir)
	if err != nil || len(list) != trees || damaged(list) {
		t.Errorf("%v, %d trees", err, len(list))
	}
}
