package boottest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nbpack/nbpack/internal/testneed"
	"github.com/nbpack/nbpack/internal/testserver"
)

// loaders is where the package of Debian's installer has the boot files of a PC,
// below the root of a tree.
const loaders = "debian-installer/amd64"

// lab is all that stands between a package of boot files and a boot directory.
type lab struct {
	nbpack, nbextract string
	deb               string // Debian's installer
	loaders           string // where it has its boot files, below the root of a tree
	init              []byte // the program that proves the boot
	repository        string
}

// emulators are the programs that stand for a machine of an architecture.
var emulators = map[string]string{"amd64": "qemu-system-x86_64", "arm64": "qemu-system-aarch64"}

// newLab starts a registry for the boot files of an architecture, and compiles the
// commands, or takes those that NBPACK and NBEXTRACT name.
func newLab(t *testing.T, arch string) *lab {
	t.Helper()
	if os.Getenv("NBPACK_BOOT_TEST") == "" {
		t.Skip("machines are booted by make boot-test (NBPACK_BOOT_TEST=1)")
	}
	for _, tool := range []string{emulators[arch], "docker-registry", "go"} {
		testneed.Tool(t, tool)
	}
	l := &lab{deb: testneed.Deb(t, "debian-installer-12-netboot-"+arch), loaders: "debian-installer/" + arch, init: compileInit(t, arch), nbpack: os.Getenv("NBPACK"), nbextract: os.Getenv("NBEXTRACT")}
	for pkg, file := range map[string]*string{"nbpack": &l.nbpack, "nbextract": &l.nbextract} {
		if *file == "" {
			*file = filepath.Join(t.TempDir(), pkg)
			goBuild(t, *file, "../../cmd/"+pkg)
		}
	}
	l.repository = testserver.Registry(t, "") + "/netboot"
	return l
}

// release is a version of the boot files in the registry.
type release struct {
	digest string // of the manifest
	sum    string // what init says of its payload
}

// publish packs Debian's boot files and the initrd of the test, whose payload is
// text, and moves the tag to them. Files of extra, by path, take the place of
// Debian's.
func (l *lab) publish(t *testing.T, tag, text string, extra map[string][]byte) release {
	t.Helper()
	payload := bytes.Repeat([]byte(text+"\n"), 10000)
	dir := t.TempDir()
	args := []string{"build", "--quiet", "--tls-verify=false"}
	files := map[string][]byte{l.loaders + "/initrd.gz": initrd(t, l.init, payload)}
	maps.Copy(files, extra)
	for path, content := range files {
		// A source of its own comes without its --exclude, under the name it gets.
		write(t, filepath.Join(dir, path+".test"), content)
		args = append(args, "--exclude", path, "--rename", path+".test="+path)
	}
	digest := l.run(t, l.nbpack, append(args, l.deb, dir, "docker://"+l.repository+":"+tag)...)
	return release{digest: strings.TrimSpace(digest), sum: fmt.Sprintf("%x", sha256.Sum256(payload))}
}

// pull brings the boot directory up to date, and gives the path of the live tree
// below it.
func (l *lab) pull(t *testing.T, tag, dir string, want release, flags ...string) string {
	t.Helper()
	var result struct {
		Trees []struct {
			Digest  string `json:"digest"`
			Path    string `json:"path"`
			Changed bool   `json:"changed"`
		} `json:"trees"`
	}
	out := l.run(t, l.nbextract, append([]string{"pull", "--quiet", "--tls-verify=false", "--json", "docker://" + l.repository + ":" + tag, "-d", dir}, flags...)...)
	if err := json.Unmarshal([]byte(out), &result); err != nil {
		t.Fatal(err)
	}
	if len(result.Trees) != 1 || result.Trees[0].Digest != want.digest || !result.Trees[0].Changed {
		t.Fatalf("pulled %+v, want a change to %s", result.Trees, want.digest)
	}
	return strings.TrimPrefix(result.Trees[0].Path, dir+"/")
}

// generation is the path, below a boot directory, that this release keeps whatever
// is pulled after it.
func (r release) generation() string {
	return "by-digest/" + strings.TrimPrefix(r.digest, "sha256:")
}

func (l *lab) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, stderr.String())
	}
	return stdout.String()
}

// answers asks a server that was just started until it accepts a connection.
func answers(t *testing.T, url string, ended <-chan struct{}) {
	t.Helper()
	again := time.NewTicker(10 * time.Millisecond) // it shares the processors with what it waits for
	defer again.Stop()
	for {
		select {
		case <-ended:
			t.Fatalf("the server of %s did not start", url)
		case <-again.C:
		}
		resp, err := http.Get(url)
		if err == nil {
			_ = resp.Body.Close()
			return
		}
		if op := (*net.OpError)(nil); !errors.As(err, &op) {
			t.Fatal(err)
		}
	}
}

func write(t *testing.T, file string, content []byte) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(file), 0o755)
	if err == nil {
		err = os.WriteFile(file, content, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}
