package cli_test

import (
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/nbpack/nbpack/internal/testneed"
)

// arrows says for each room which rooms it may import. docs/architecture.md draws
// them. A room that is not listed may not exist.
func arrows() map[string][]string {
	return map[string][]string{
		"spec":                          nil,
		"internal/archive":              {"spec", "internal/twinsum"},
		"internal/bench":                {"internal/cli", "internal/testserver"},
		"internal/bootcheck":            {"spec"},
		"internal/bootdir":              {"spec", "internal/directio"},
		"internal/catalog":              {"spec", "internal/config", "internal/transport", "internal/transport/blobmirror"},
		"internal/cli":                  {"internal/collector"},
		"internal/collector":            nil,
		"internal/config":               nil,
		"internal/directio":             nil,
		"internal/drain":                nil,
		"internal/durable":              nil,
		"internal/front":                {"spec", "internal/config", "internal/drain", "internal/mirrortree", "internal/transport/blobmirror"},
		"internal/hooks":                nil,
		"internal/mirrortree":           {"spec"},
		"internal/ociindex":             {"spec"},
		"internal/ocilayout":            {"spec", "internal/durable", "internal/ociindex"},
		"internal/serve":                {"spec", "internal/bootdir", "internal/drain"},
		"internal/source":               {"spec", "internal/archive", "internal/transport"},
		"internal/testimage":            nil,
		"internal/testneed":             nil,
		"internal/testserver":           {"internal/testneed"},
		"internal/testshelf":            {"spec", "internal/archive", "internal/transport"},
		"internal/transport":            {"spec", "internal/directio", "internal/durable", "internal/ociindex", "internal/ocilayout", "internal/transport/blobmirror", "internal/transport/byterange", "internal/transport/httpclient"},
		"internal/transport/blobmirror": nil,
		"internal/transport/byterange":  nil,
		"internal/transport/httpclient": nil,
		"internal/trust":                {"spec"},
		"internal/twinsum":              nil,
		"internal/upstream":             {"spec"},
		"pack":                          {"spec", "internal/archive", "internal/bootcheck", "internal/config", "internal/source", "internal/transport", "internal/trust", "internal/upstream", "pack/index"},
		"pack/bundle":                   {"spec", "internal/ocilayout", "internal/transport"},
		"pack/index":                    {"spec", "internal/ociindex", "internal/transport"},
		"pack/relocate":                 {"spec", "internal/transport"},
		"extract":                       {"spec", "extract/layout", "extract/menu", "extract/resolve", "internal/archive", "internal/bootcheck", "internal/bootdir", "internal/hooks", "internal/transport", "internal/transport/blobmirror", "internal/trust"},
		"extract/catalogrun":            {"spec", "extract", "extract/resolve", "internal/bootdir", "internal/catalog", "internal/config", "internal/transport", "internal/trust"},
		"extract/fetch":                 {"spec", "internal/archive", "internal/transport"},
		"extract/layout":                {"spec"},
		"extract/menu":                  {"spec"},
		"extract/metrics":               {"extract", "extract/catalogrun", "internal/bootdir", "internal/catalog"},
		"extract/mirror":                {"spec", "extract", "extract/resolve", "internal/bootdir", "internal/mirrortree", "internal/transport"},
		"extract/resolve":               {"spec", "extract/layout", "internal/bootdir", "internal/transport"},
		"cmd/nbextract":                 {"spec", "extract", "extract/catalogrun", "extract/fetch", "extract/layout", "extract/metrics", "extract/mirror", "internal/bootdir", "internal/catalog", "internal/cli", "internal/drain", "internal/front", "internal/hooks", "internal/serve", "internal/transport", "internal/transport/blobmirror", "internal/trust"},
		"cmd/nbpack":                    {"spec", "internal/archive", "internal/bootcheck", "internal/cli", "internal/transport", "internal/trust", "pack", "pack/bundle", "pack/index", "pack/relocate"},
	}
}

// TestArrows asks the go command what each room imports.
func TestArrows(t *testing.T) {
	for room, imports := range rooms(t, "Imports") {
		allowed, known := arrows()[room]
		if !known {
			t.Errorf("package %s is not in the plan of the house", room)
		}
		for _, dep := range imports {
			if !slices.Contains(allowed, dep) {
				t.Errorf("%s must not import %s", room, dep)
			}
		}
	}
}

// TestHalves keeps packing and extracting apart, on whatever way: they meet in commands
// alone, and nothing below them knows either.
func TestHalves(t *testing.T) {
	half := func(room string) string {
		top, _, _ := strings.Cut(room, "/")
		return top
	}
	for room, deps := range rooms(t, "Deps") {
		for _, dep := range deps {
			if to := half(dep); (to == "pack" || to == "extract") && half(room) != to && half(room) != "cmd" {
				t.Errorf("%s must not reach %s", room, dep)
			}
		}
	}
}

// rooms lists all packages, with those of ours in a field of go list. It looks into their
// directories, too: what another program reads a cached result of this test knows nothing of.
func rooms(t *testing.T, field string) map[string][]string {
	t.Helper()
	module := goList(t, "-m")[0] + "/"
	all := map[string][]string{}
	for _, line := range goList(t, "-f", `{{if .GoFiles}}{{.Dir}} {{.ImportPath}} {{join .`+field+` " "}}{{end}}`, module+"...") {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue // a directory with tests alone
		}
		if _, err := os.ReadDir(fields[0]); err != nil {
			t.Fatal(err)
		}
		room := strings.TrimPrefix(fields[1], module)
		all[room] = nil
		for _, dep := range fields[2:] {
			if dep, ours := strings.CutPrefix(dep, module); ours {
				all[room] = append(all[room], dep)
			}
		}
	}
	return all
}

// TestSpecIsPure keeps files and networks out of the rules.
func TestSpecIsPure(t *testing.T) {
	module := goList(t, "-m")[0]
	for _, imported := range strings.Fields(goList(t, "-f", `{{join .Imports " "}}`, module+"/spec")[0]) {
		if slices.Contains([]string{"os", "net", "net/http", "os/exec", "syscall", "io/ioutil"}, imported) {
			t.Errorf("spec imports %s, but has no I/O", imported)
		}
	}
}

// TestStorageBehindTag keeps the library of container storage, with its drivers,
// out of a plain build, which must need neither tags nor C headers.
func TestStorageBehindTag(t *testing.T) {
	const library = "go.podman.io/storage"
	module := goList(t, "-m")[0]
	if slices.Contains(goList(t, "-deps", module+"/..."), library) {
		t.Errorf("a plain build links %s", library)
	}
	if runtime.GOOS == "linux" && !slices.Contains(goList(t, "-deps", "-tags=containers_image_openpgp,exclude_graphdriver_btrfs", module+"/cmd/..."), library) {
		t.Errorf("the release does not link %s", library)
	}
}

func goList(t *testing.T, args ...string) []string {
	t.Helper()
	testneed.Tool(t, "go")
	out, err := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list %v: %v", args, err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}
