package metrics

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/extract/catalogrun"
	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/catalog"
)

func second(n int64) time.Time { return time.Unix(n, 500_000_000).UTC() }

func sampleRun() (*catalogrun.Report, []bootFacts) {
	created := second(5)
	r := &catalogrun.Report{
		Catalog: "/etc/c.yaml", Started: second(100), Finished: second(103), References: 3, Changed: 1, Requests: 7, Fetched: 1 << 40,
		Failures: []*extract.Failure{{Kind: extract.FailNetwork}, {Kind: extract.FailNetwork}, {Kind: extract.FailVetoed}},
		Left:     []catalogrun.LeftTree{{}, {Removed: true}}, Stale: []catalogrun.StaleTree{{}},
	}
	return r, []bootFacts{{
		dir: "/srv/tftp", run: catalogrun.RunState{Last: second(103), Succeeded: second(90)},
		trees: []bootdir.Tree{{
			Live: `a"\` + "\nb", Reference: "docker://registry.example/n:v", Platform: "linux/amd64", Digest: "sha256:aa", Created: &created,
			Pinned: true, History: []bootdir.Generation{{Installed: second(50)}, {Installed: second(1)}},
		}, {Live: "c\xff"}},
		references: map[string]*catalogrun.ReferenceState{
			"z": {Succeeded: second(80), Moved: second(20), FailingSince: second(95), Kind: extract.FailNetwork},
			"a": {Succeeded: second(103), Moved: second(30)},
			"n": {}, // never looked at
		},
	}, {dir: "/srv/http", run: catalogrun.RunState{Succeeded: second(91)}}}
}

func TestMetrics(t *testing.T) {
	r, facts := sampleRun()
	text := string(exposition(r, facts))
	for _, want := range []string{
		"# HELP nbextract_last_run_timestamp_seconds End of the last run over the catalogue.\n# TYPE nbextract_last_run_timestamp_seconds gauge\n" +
			`nbextract_last_run_timestamp_seconds{catalog="/etc/c.yaml"} 103.5` + "\n",
		`nbextract_last_success_timestamp_seconds{catalog="/etc/c.yaml"} 90.5`,
		`nbextract_last_run_duration_seconds{catalog="/etc/c.yaml"} 3`,
		`nbextract_last_run_requests{catalog="/etc/c.yaml"} 7`,
		`nbextract_last_run_fetched_bytes{catalog="/etc/c.yaml"} 1099511627776`,
		`nbextract_left_trees{catalog="/etc/c.yaml"} 1`,
		`nbextract_stale_trees{catalog="/etc/c.yaml"} 1`,
		`nbextract_last_run_failures{catalog="/etc/c.yaml",kind="network"} 2`,
		`nbextract_last_run_failures{catalog="/etc/c.yaml",kind="auth"} 0`,
		`nbextract_trees{catalog="/etc/c.yaml",destination="/srv/tftp"} 2`,
		`nbextract_trees{catalog="/etc/c.yaml",destination="/srv/http"} 0`,
		`nbextract_tree_info{catalog="/etc/c.yaml",destination="/srv/tftp",path="a\"\\\nb",reference="docker://registry.example/n:v",release="",platform="linux/amd64",digest="sha256:aa"} 1`,
		`nbextract_tree_installed_timestamp_seconds{catalog="/etc/c.yaml",destination="/srv/tftp",path="a\"\\\nb"} 50.5`,
		`nbextract_image_created_timestamp_seconds{catalog="/etc/c.yaml",destination="/srv/tftp",path="a\"\\\nb"} 5.5`,
		`nbextract_tree_pinned{catalog="/etc/c.yaml",destination="/srv/tftp",path="c` + "\uFFFD" + `"} 0`,
		`nbextract_reference_success_timestamp_seconds{catalog="/etc/c.yaml",destination="/srv/tftp",reference="a"} 103.5` + "\n" +
			`nbextract_reference_success_timestamp_seconds{catalog="/etc/c.yaml",destination="/srv/tftp",reference="z"} 80.5` + "\n#",
		`nbextract_reference_failing_since_timestamp_seconds{catalog="/etc/c.yaml",destination="/srv/tftp",reference="z",kind="network"} 95.5` + "\n",
		`nbextract_tag_moved_timestamp_seconds{catalog="/etc/c.yaml",destination="/srv/tftp",reference="z"} 20.5`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("missing\n%s\nin\n%s", want, text)
		}
	}
	if again := exposition(r, facts); string(again) != text {
		t.Error("the order is not always the same")
	}
	checkExposition(t, text)
}

// checkExposition holds a text against the grammar of the format: names once, a
// type before the samples, no sample twice.
func checkExposition(t *testing.T, text string) {
	t.Helper()
	sample := regexp.MustCompile(`^([a-z_]+)(\{(?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)*\})? -?[0-9]+(?:\.[0-9]+)?$`)
	seen, family := map[string]bool{}, ""
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			family, _, _ = strings.Cut(name, " ")
		}
		key := line
		if !strings.HasPrefix(line, "#") {
			m := sample.FindStringSubmatch(line)
			if m == nil || m[1] != family {
				t.Errorf("%q below %s", line, family)
				continue
			}
			key = line[:strings.LastIndexByte(line, ' ')]
		}
		if seen[key] {
			t.Errorf("%q is there twice", key)
		}
		seen[key] = true
	}
}

// A catalogue that never had a whole success has no time of one.
func TestMetricsBeforeTheFirstSuccess(t *testing.T) {
	r, facts := sampleRun()
	facts[1].run = catalogrun.RunState{}
	if text := exposition(r, facts); bytes.Contains(text, []byte("last_success")) {
		t.Errorf("%s", text)
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "nbextract.prom")
	if err := os.WriteFile(filepath.Join(dir, ".nbextract.prom.tmp"), []byte("of a killed run"), 0o400); err != nil {
		t.Fatal(err)
	}
	good := []catalog.Entry{{Settings: catalog.Settings{Destination: filepath.Join(dir, "none")}}}
	r := &catalogrun.Report{Catalog: "c", Started: second(1), Finished: second(2)}
	if err := Write(file, r, good); err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(file)
	if err != nil || !bytes.Contains(first, []byte(`nbextract_last_run_timestamp_seconds{catalog="c"} 2.5`)) {
		t.Errorf("%s, %v", first, err)
	}
	if fi, err := os.Stat(file); err != nil || fi.Mode() != metricsMode {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	if names, _ := os.ReadDir(dir); len(names) != 1 {
		t.Errorf("%v is left", names)
	}
	for name, silent := range map[string]*catalogrun.Report{
		"dry run": {DryRun: true},
		"locked":  {Failures: []*extract.Failure{{Kind: extract.FailLocked}, {Kind: extract.FailLocked}}},
	} {
		if err := Write(filepath.Join(dir, "x", "y"), silent, good); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Write(filepath.Join(dir, "x", "y"), r, good); err == nil || !strings.Contains(err.Error(), "write metrics") {
		t.Errorf("no directory: %v", err)
	}
	// A boot directory that is a file cannot be read; the rest is written.
	bad := append(good, catalog.Entry{Settings: catalog.Settings{Destination: file}})
	r.Requests = 77
	if err := Write(file, r, bad); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("%v", err)
	}
	if b, _ := os.ReadFile(file); !bytes.Contains(b, []byte("requests{catalog=\"c\"} 77")) {
		t.Errorf("%s", b)
	}
}
