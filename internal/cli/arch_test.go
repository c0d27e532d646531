package cli_test

import (
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/nbpack/nbpack/internal/testneed"
)

// arrows says for each room which rooms it may reach, directly or not.
// docs/architecture.md draws them. A room that is not listed may not exist.
func arrows() map[string][]string {
	const archive, transport, bootdir, cli = "internal/archive", "internal/transport", "internal/bootdir", "internal/cli"
	const blobmirror, byterange, httpclient = "internal/transport/blobmirror", "internal/transport/byterange", "internal/transport/httpclient"
	const ociindex, ocilayout, source = "internal/ociindex", "internal/ocilayout", "internal/source"
	const config = "internal/config"
	const catalog = "internal/catalog"
	const trust, bootcheck = "internal/trust", "internal/bootcheck"
	const upstream = "internal/upstream"
	const hooks = "internal/hooks"
	const serve = "internal/serve"
	const layout, menu, fetch, catalogrun = "extract/layout", "extract/menu", "extract/fetch", "extract/catalogrun"
	const resolve = "extract/resolve"
	const mirrortree = "internal/mirrortree"
	const front = "internal/front"
	const directio, durable = "internal/directio", "internal/durable"
	const drain = "internal/drain"
	const twinsum = "internal/twinsum"
	const collector = "internal/collector"
	return map[string][]string{
		"spec":            nil,
		cli:               {collector},
		collector:         nil,
		archive:           {"spec", twinsum},
		twinsum:           nil,
		ociindex:          {"spec"},
		ocilayout:         {"spec", ociindex, durable},
		transport:         {"spec", blobmirror, byterange, httpclient, ociindex, ocilayout, directio, durable},
		blobmirror:        nil,
		byterange:         nil,
		httpclient:        nil,
		bootdir:           {"spec", directio},
		trust:             {"spec"},
		bootcheck:         {"spec"},
		config:            nil,
		directio:          nil,
		durable:           nil,
		"internal/bench":  {cli, collector, "internal/testserver", "internal/testneed"},
		hooks:             nil,
		drain:             nil,
		serve:             {"spec", bootdir, drain, directio},
		catalog:           {"spec", ociindex, ocilayout, transport, blobmirror, byterange, httpclient, config, directio, durable},
		source:            {"spec", archive, ociindex, ocilayout, transport, blobmirror, byterange, httpclient, directio, durable, twinsum},
		upstream:          {"spec"},
		mirrortree:        {"spec"},
		front:             {"spec", blobmirror, config, mirrortree, drain},
		"pack":            {"spec", archive, bootcheck, ociindex, ocilayout, source, transport, blobmirror, byterange, httpclient, trust, upstream, config, "pack/index", directio, durable, twinsum},
		"pack/bundle":     {"spec", ociindex, ocilayout, transport, blobmirror, byterange, httpclient, directio, durable},
		"pack/index":      {"spec", ociindex, ocilayout, transport, blobmirror, byterange, httpclient, directio, durable},
		"pack/relocate":   {"spec", ociindex, ocilayout, transport, blobmirror, byterange, httpclient, directio, durable},
		"extract":         {"spec", layout, resolve, menu, archive, bootcheck, ociindex, ocilayout, transport, blobmirror, byterange, httpclient, trust, bootdir, hooks, directio, durable, twinsum},
		catalogrun:        {"spec", layout, resolve, menu, archive, bootcheck, ociindex, ocilayout, transport, blobmirror, byterange, httpclient, trust, bootdir, config, catalog, hooks, "extract", directio, durable, twinsum},
		fetch:             {"spec", archive, ociindex, ocilayout, transport, blobmirror, byterange, httpclient, directio, durable, twinsum},
		layout:            {"spec"},
		resolve:           {"spec", layout, ociindex, ocilayout, transport, blobmirror, byterange, bootdir, httpclient, directio, durable},
		menu:              {"spec"},
		"extract/metrics": {"spec", catalogrun, layout, resolve, menu, archive, bootcheck, ociindex, ocilayout, transport, blobmirror, byterange, httpclient, trust, bootdir, config, catalog, hooks, "extract", directio, durable, twinsum},
		"extract/mirror":  {"spec", layout, resolve, menu, archive, bootcheck, ociindex, ocilayout, transport, blobmirror, byterange, httpclient, trust, bootdir, hooks, mirrortree, "extract", directio, durable, twinsum},
		"cmd/nbpack":      {"spec", archive, bootcheck, ociindex, ocilayout, source, transport, blobmirror, byterange, httpclient, trust, upstream, config, cli, collector, "pack", "pack/index", "pack/relocate", "pack/bundle", directio, durable, twinsum},
		"cmd/nbextract":   {"spec", layout, resolve, menu, fetch, catalogrun, archive, bootcheck, ociindex, ocilayout, transport, blobmirror, byterange, httpclient, trust, bootdir, cli, collector, "extract", "extract/metrics", "extract/mirror", config, catalog, hooks, serve, mirrortree, front, drain, directio, durable, twinsum},
	}
}

// scaffolding are packages that no command contains: shared test data and servers,
// and what keeps versions in go.mod.
func scaffolding(pkg string) bool {
	return pkg == "internal/testimage" || pkg == "internal/testneed" || pkg == "internal/testserver" || pkg == "internal/testshelf" || pkg == "internal/zdeps"
}

// TestArrows asks the go command what each room imports.
func TestArrows(t *testing.T) {
	module := goList(t, "-m")[0]
	for _, line := range goList(t, "-f", `{{if .GoFiles}}{{.ImportPath}} {{join .Deps " "}}{{end}}`, module+"/...") {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue // a directory with tests alone
		}
		room := strings.TrimPrefix(fields[0], module+"/")
		if scaffolding(room) {
			continue
		}
		allowed, known := arrows()[room]
		if !known {
			t.Errorf("package %s is not in the plan of the house", room)
		}
		for _, dep := range fields[1:] {
			dep, ours := strings.CutPrefix(dep, module+"/")
			if ours && !slices.Contains(allowed, dep) {
				t.Errorf("%s must not import %s", room, dep)
			}
		}
	}
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
