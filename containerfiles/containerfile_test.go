// Package containerfiles_test checks the Containerfiles and their scripts as far
// as that goes without network.
package containerfiles_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nbpack/nbpack/internal/testneed"
	"github.com/nbpack/nbpack/spec"
)

// distros are the directories that issue a Containerfile each.
var distros = []string{"almalinux", "centos-stream", "debian", "fedora", "opensuse", "rockylinux", "ubuntu"}

// instruction is one instruction of a Containerfile, continued lines joined.
type instruction struct{ name, args string }

// stage is what stands below one FROM.
type stage struct {
	from, name string // FROM without its flags, name after AS
	flags      string
	steps      []instruction
}

// recipe is a Containerfile cut into stages.
type recipe struct {
	global []instruction // ARGs above the first FROM
	stages []stage
}

func readRecipe(t *testing.T, distro string) recipe {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(distro, "Containerfile"))
	if err != nil {
		t.Fatal(err)
	}
	var r recipe
	text := regexp.MustCompile(`(?m)^\s*#.*\n`).ReplaceAllString(string(b), "")
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		name, args, _ := strings.Cut(strings.TrimSpace(line), " ")
		in := instruction{name, strings.Join(strings.Fields(args), " ")}
		switch {
		case name == "":
		case name == "FROM":
			r.stages = append(r.stages, parseFrom(in.args))
		case len(r.stages) == 0:
			r.global = append(r.global, in)
		default:
			last := &r.stages[len(r.stages)-1]
			last.steps = append(last.steps, in)
		}
	}
	return r
}

func parseFrom(args string) stage {
	var s stage
	if strings.HasPrefix(args, "--") {
		s.flags, args, _ = strings.Cut(args, " ")
	}
	s.from, s.name, _ = strings.Cut(args, " AS ")
	return s
}

// labels gives the labels of a stage, without the prefix.
func (s stage) labels(t *testing.T) map[string]string {
	t.Helper()
	labels := map[string]string{}
	pair := regexp.MustCompile(`^(\S+)="([^"]*)"$`)
	for _, in := range s.steps {
		if in.name != "LABEL" {
			continue
		}
		for field := range strings.FieldsSeq(in.args) {
			m := pair.FindStringSubmatch(field)
			if m == nil {
				t.Fatalf("label %q is not KEY=\"VALUE\"", field)
			}
			key, ok := strings.CutPrefix(m[1], spec.LabelPrefix)
			if !ok {
				t.Errorf("label %q is not a netboot label", m[1])
			}
			labels[key] = m[2]
		}
	}
	return labels
}

// entries gives the stages with the labels of one architecture, by architecture.
func (r recipe) entries() map[string]stage {
	entries := map[string]stage{}
	for _, s := range r.stages {
		if arch, ok := strings.CutPrefix(s.name, "entry-"); ok {
			entries[arch] = s
		}
	}
	return entries
}

func TestEveryDistroIsHere(t *testing.T) {
	files, err := filepath.Glob("*/Containerfile")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, f := range files {
		if dir := filepath.Dir(f); dir != "nbextract" { // the program's own image, no boot files
			found = append(found, dir)
		}
	}
	if !slices.Equal(found, distros) {
		t.Errorf("found %q, the tests know %q", found, distros)
	}
}

func TestShapeOfContainerfiles(t *testing.T) {
	for _, distro := range distros {
		t.Run(distro, func(t *testing.T) {
			r := readRecipe(t, distro)
			checkGlobals(t, r)
			checkGatherStage(t, r)
			checkEntryStages(t, r)
			checkImageStage(t, r)
		})
	}
}

func checkGlobals(t *testing.T, r recipe) {
	t.Helper()
	got := map[string]string{}
	for _, in := range r.global {
		name, value, _ := strings.Cut(in.args, "=")
		got[name] = value
	}
	if got["RELEASE"] == "" || got["BASE"] == "" {
		t.Errorf("RELEASE and BASE need defaults; the globals are %q", got)
	}
	if _, ok := got["TARGETARCH"]; !ok {
		t.Error("buildah wants TARGETARCH declared above the first FROM that uses it")
	}
	// A short name is completed by the reader's registries.conf.
	if first, _, deep := strings.Cut(got["BASE"], "/"); deep && strings.ContainsAny(first, ".:") {
		t.Errorf("base image %q names a registry", got["BASE"])
	}
}

func checkGatherStage(t *testing.T, r recipe) {
	t.Helper()
	gather := r.stages[0]
	if gather.name != "gather" || gather.from != "${BASE}" || gather.flags != "--platform=$BUILDPLATFORM" {
		t.Errorf("the first stage is %+v", gather)
	}
	if !slices.Contains(gather.steps, instruction{"ARG", "TARGETARCH"}) {
		t.Error("the gathering script does not see TARGETARCH")
	}
}

func checkEntryStages(t *testing.T, r recipe) {
	t.Helper()
	entries := r.entries()
	for _, arch := range []string{"amd64", "arm64"} {
		if entries[arch].name == "" {
			t.Errorf("no stage for %s", arch)
		}
	}
	for arch, s := range entries {
		if s.from != "scratch" {
			t.Errorf("%s is built from %q", s.name, s.from)
		}
		labels := s.labels(t)
		platform := arch
		if arch == "arm" {
			platform = "arm/v7" // the only one that Debian has
		}
		p, err := spec.ParsePlatform("linux/" + platform)
		if err != nil {
			t.Fatal(err)
		}
		if labels["os.arch"] != p.Arch() {
			t.Errorf("%s has os.arch %q, want %q", s.name, labels["os.arch"], p.Arch())
		}
		for _, key := range []string{"entrypoint", "altentrypoint", "legacyentrypoint"} {
			if file, ok := labels[key]; ok && spec.CheckPath(file) != nil {
				t.Errorf("%s: %s %q is no path", s.name, key, file)
			}
		}
	}
}

func checkImageStage(t *testing.T, r recipe) {
	t.Helper()
	image := r.stages[len(r.stages)-1]
	if image.from != "entry-${TARGETARCH}" || image.flags != "" {
		t.Errorf("the image is built from %q", image.from)
	}
	var steps []string
	for _, in := range image.steps {
		if in.name != "LABEL" {
			steps = append(steps, in.name+" "+in.args)
		}
	}
	want := []string{"ARG RELEASE", "COPY --from=gather /out/SHA256SUM /", "COPY --from=gather /out/payload/ /"}
	if !slices.Equal(steps, want) {
		t.Errorf("the image is made by %q, want %q", steps, want)
	}
	labels := image.labels(t)
	if labels["version"] != spec.Version || labels["os.version"] != "${RELEASE}" {
		t.Errorf("labels %q", labels)
	}
	if err := spec.CheckPathLabel(spec.LabelOSName, labels["os.name"]); err != nil {
		t.Error(err)
	}
}

// Mirrors and registries are the reader's choice.
func TestNoAddresses(t *testing.T) {
	files, err := filepath.Glob("*/*")
	if err != nil {
		t.Fatal(err)
	}
	address := regexp.MustCompile(`[a-z]+://[a-zA-Z0-9]|\b[a-z0-9-]+(\.[a-z0-9-]+)*\.(org|com|io|net|dev)\b[/:]`)
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		// The name that stands for the reader's own.
		b = bytes.ReplaceAll(b, []byte("registry.example"), []byte("REGISTRY"))
		b = bytes.ReplaceAll(b, []byte("https://REGISTRY"), nil)
		if found := address.Find(b); found != nil {
			t.Errorf("%s names %q", f, found)
		}
	}
}

// TestImagesFromLocalFiles builds the image of every distribution with buildah,
// the real Containerfile but for the gathering, which gets stand-ins for the
// distribution's files, and reads it with skopeo and our own commands.
func TestImagesFromLocalFiles(t *testing.T) {
	buildah := newBuildah(t)
	need(t, "skopeo", "go")
	commands := buildCommands(t)
	for _, distro := range distros {
		r := readRecipe(t, distro)
		for arch, entry := range r.entries() {
			if arch != "amd64" && distro != "debian" {
				continue // they differ by the labels that TestShapeOfContainerfiles looks at
			}
			t.Run(distro+"-"+arch, func(t *testing.T) {
				platform := "linux/" + arch
				if arch == "arm" {
					platform += "/v7"
				}
				context, files := standIns(t, entry.labels(t))
				writeFile(t, filepath.Join(context, "Containerfile"), localForm(t, distro))
				layout := filepath.Join(t.TempDir(), "layout")
				image := "oci:" + layout + ":test"
				buildah.run(t, "bud", "--isolation", "chroot", "--layers", "--platform", platform, "-t", image, context)

				checkWithSkopeo(t, image, arch, entry.labels(t))
				// Exit code 3 would say that a consumer refuses the image.
				command(t, commands["nbpack"], "lint", image)
				boot := filepath.Join(t.TempDir(), "boot")
				command(t, commands["nbextract"], "pull", image, "-d", boot)
				checkBootTree(t, boot, entry.labels(t), files)
			})
		}
	}
}

// localForm is a Containerfile whose gathering stage takes what is there.
func localForm(t *testing.T, distro string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(distro, "Containerfile"))
	if err != nil {
		t.Fatal(err)
	}
	gather := regexp.MustCompile(`(?s)FROM --platform.*?\n\n`)
	if len(gather.FindAll(b, -1)) != 1 {
		t.Fatal("the gathering stage does not end with an empty line")
	}
	return string(gather.ReplaceAll(b, []byte("FROM scratch AS gather\nCOPY out/ /out/\n\n")))
}

// standIns makes a build context with a gathered tree, finished by the real
// script, and tells the content of its files.
func standIns(t *testing.T, labels map[string]string) (context string, files map[string]string) {
	t.Helper()
	context = t.TempDir()
	payload := filepath.Join(context, "out", "payload")
	files = map[string]string{"vmlinuz": "a kernel", "sub/dir/initrd.img": "an initrd"}
	args := []string{filepath.Join(context, "out")}
	for _, key := range []string{"entrypoint", "altentrypoint", "legacyentrypoint"} {
		if labels[key] != "" {
			files[labels[key]] = "this is the " + key
		}
		args = append(args, labels[key])
	}
	for name, content := range files {
		writeFile(t, filepath.Join(payload, name), content)
	}
	if err := os.Symlink("sub/dir/initrd.img", filepath.Join(payload, "initrd")); err != nil {
		t.Fatal(err)
	}
	command(t, "gather/finish", args...)
	return context, files
}

func checkWithSkopeo(t *testing.T, image, arch string, want map[string]string) {
	t.Helper()
	var config struct {
		Architecture string
		Config       struct{ Labels map[string]string }
		RootFS       struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	if err := json.Unmarshal(command(t, "skopeo", "inspect", "--config", image), &config); err != nil {
		t.Fatal(err)
	}
	if config.Architecture != arch || len(config.RootFS.DiffIDs) != 2 {
		t.Errorf("skopeo sees architecture %q and %d layers", config.Architecture, len(config.RootFS.DiffIDs))
	}
	for key, value := range want {
		if got := config.Config.Labels[spec.LabelPrefix+key]; got != value {
			t.Errorf("skopeo sees label %s=%q, want %q", key, got, value)
		}
	}
}

func checkBootTree(t *testing.T, boot string, labels, files map[string]string) {
	t.Helper()
	trees, err := filepath.Glob(filepath.Join(boot, "*", "*", labels["os.arch"], spec.SumsName))
	if err != nil || len(trees) != 1 {
		t.Fatalf("live trees %q, %v", trees, err)
	}
	tree := filepath.Dir(trees[0])
	for name, content := range files {
		if got, err := os.ReadFile(filepath.Join(tree, name)); err != nil || string(got) != content {
			t.Errorf("%s holds %q, %v", name, got, err)
		}
	}
	for _, link := range spec.EntryLinks() {
		file, ok := labels[strings.TrimPrefix(link.Label, spec.LabelPrefix)]
		if !ok {
			continue
		}
		got, err := os.Readlink(filepath.Join(tree, spec.LinkFor(file, link.Name)))
		if err != nil || got != filepath.Base(file) {
			t.Errorf("link %s leads to %q, %v", link.Name, got, err)
		}
	}
}

// buildah runs with a storage of its own, so that it neither sees nor leaves
// anything on the machine.
type buildah []string

func newBuildah(t *testing.T) buildah {
	t.Helper()
	need(t, "buildah")
	dir := t.TempDir()
	b := buildah{"--storage-driver", "vfs", "--root", dir + "/root", "--runroot", dir + "/run"}
	if out, err := exec.Command("buildah", append(slices.Clone(b), "from", "scratch")...).CombinedOutput(); err != nil {
		testneed.Missing(t, "buildah does not work here: %s", out)
	}
	return b
}

func (b buildah) run(t *testing.T, args ...string) {
	t.Helper()
	command(t, "buildah", append(slices.Clone(b), args...)...)
}
