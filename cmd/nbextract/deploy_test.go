package main

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/nbpack/nbpack/extract/catalogrun"
	"github.com/nbpack/nbpack/internal/catalog"
	"github.com/nbpack/nbpack/internal/testneed"
)

const deployDir = "../../docs/deploy"

func readDeploy(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(deployDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// parses holds the flags of a command line of nbextract against its commands:
// help is given after they were read.
func parses(t *testing.T, args []string) {
	t.Helper()
	if code, _, errs := nbextract(t, append(args[:len(args):len(args)], "--help")...); code != 0 {
		t.Errorf("nbextract %q: %s", args, errs)
	}
}

// TestSystemdUnits asks systemd itself: whether it understands the units, and how
// much the service could do if it were taken over (2.0 of 10 is the most).
func TestSystemdUnits(t *testing.T) {
	service := readDeploy(t, "nbextract.service")
	line := regexp.MustCompile(`(?m)^ExecStart=/usr/bin/nbextract (.*)$`).FindStringSubmatch(service)
	if line == nil {
		t.Fatal("the service does not start nbextract")
	}
	parses(t, strings.Fields(line[1]))
	testneed.Tool(t, "systemd-analyze")
	dir := t.TempDir()
	writeTree(t, dir, map[string]string{
		"nbextract.service": strings.Replace(service, "/usr/bin/nbextract", "/bin/true", 1),
		"nbextract.timer":   readDeploy(t, "nbextract.timer"),
	})
	for _, args := range [][]string{
		{"verify", "--man=no", dir + "/nbextract.service", dir + "/nbextract.timer"},
		{"security", "--offline=true", "--no-pager", "--threshold=20", dir + "/nbextract.service"},
	} {
		out, err := exec.Command("systemd-analyze", args...).CombinedOutput()
		if strings.Contains(string(out), "unrecognized option") {
			t.Skipf("this systemd is too old: %s", out)
		}
		if err != nil || args[0] == "verify" && len(out) > 0 {
			t.Errorf("systemd-analyze %s: %v\n%s", args[0], err, out)
		}
	}
}

// TestCronLine runs the command of the cron file with stand-ins: who finds
// another run at work has nothing to complain about.
func TestCronLine(t *testing.T) {
	line := regexp.MustCompile(`(?m)^0 \* \* \* \* nbextract (.*)$`).FindStringSubmatch(readDeploy(t, "nbextract.cron"))
	if line == nil {
		t.Fatal("no line runs every hour as nbextract")
	}
	script := strings.ReplaceAll(line[1], `\%`, "%")
	for _, tt := range []struct{ code, want string }{{"0", ""}, {"75", ""}, {"1", "exit status 1"}, {"3", "exit status 1"}} {
		bin := t.TempDir()
		writeTree(t, bin, map[string]string{
			"sleep":     "#!/bin/sh\ntest \"$1\" -ge 0 && test \"$1\" -lt 3600 && test $# = 1\n",
			"nbextract": "#!/bin/sh\ntest \"$*\" = 'sync --quiet' || exit 9\nexit " + tt.code + "\n",
		})
		for _, name := range []string{"sleep", "nbextract"} {
			if err := os.Chmod(filepath.Join(bin, name), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command("/bin/sh", "-c", script)
		cmd.Env = []string{"PATH=" + bin + ":/usr/bin:/bin"}
		out, err := cmd.CombinedOutput()
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != tt.want || len(out) > 0 {
			t.Errorf("nbextract ends with %s, the job with %q\n%s", tt.code, got, out)
		}
	}
}

// cronJob is what must fit together in the example for Kubernetes.
type cronJob struct {
	Kind string            `yaml:"kind"`
	Data map[string]string `yaml:"data"`
	Meta struct {
		Name string `yaml:"name"`
	} `yaml:"metadata"`
	Spec struct {
		JobTemplate struct {
			Spec struct {
				Template struct {
					Spec podSpec `yaml:"spec"`
				} `yaml:"template"`
			} `yaml:"spec"`
		} `yaml:"jobTemplate"`
	} `yaml:"spec"`
}

type podSpec struct {
	Containers []struct {
		Args   []string `yaml:"args"`
		Mounts []struct {
			Name string `yaml:"name"`
			Path string `yaml:"mountPath"`
		} `yaml:"volumeMounts"`
	} `yaml:"containers"`
	Volumes []struct {
		Name  string `yaml:"name"`
		Claim struct {
			Name string `yaml:"claimName"`
		} `yaml:"persistentVolumeClaim"`
		Config struct {
			Name string `yaml:"name"`
		} `yaml:"configMap"`
	} `yaml:"volumes"`
}

// TestKubernetesExample: every mount has its volume, every volume what it is made
// of, and the catalogue is one that sync takes and lies where it is looked for.
func TestKubernetesExample(t *testing.T) {
	objects := map[string]cronJob{}
	decoder := yaml.NewDecoder(strings.NewReader(readDeploy(t, "kubernetes.yaml")))
	for {
		var o cronJob
		if err := decoder.Decode(&o); err != nil {
			break
		}
		objects[o.Kind] = o
	}
	pod := objects["CronJob"].Spec.JobTemplate.Spec.Template.Spec
	if len(objects) != 3 || len(pod.Containers) != 1 {
		t.Fatalf("%+v", objects)
	}
	container := pod.Containers[0]
	parses(t, container.Args)
	mounts := map[string]string{}
	for _, m := range container.Mounts {
		mounts[m.Name] = m.Path
	}
	for _, v := range pod.Volumes {
		if mounts[v.Name] == "" {
			t.Errorf("volume %s is not mounted", v.Name)
		}
		if c := v.Claim.Name; c != "" && c != objects["PersistentVolumeClaim"].Meta.Name {
			t.Errorf("there is no claim %s", c)
		}
		if c := v.Config.Name; c != "" && c != objects["ConfigMap"].Meta.Name {
			t.Errorf("there is no ConfigMap %s", c)
		}
	}
	if len(mounts) != len(pod.Volumes) {
		t.Errorf("mounts %v, volumes %+v", mounts, pod.Volumes)
	}
	file := container.Args[len(container.Args)-1]
	_, entries, err := catalog.Parse("catalog.yaml", file, []byte(objects["ConfigMap"].Data[path.Base(file)]))
	if err == nil {
		err = catalogrun.Check(entries, catalogrun.Options{})
	}
	if err != nil || path.Dir(file) != mounts["config"] || !strings.HasPrefix(entries[0].Destination, mounts["boot"]+"/") {
		t.Errorf("the catalogue: %v, %+v", err, entries)
	}
}
