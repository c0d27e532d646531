package testneed

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// judge is a test that only notes how it ended.
type judge struct {
	testing.TB
	ended string
}

func (j *judge) Helper()               {}
func (j *judge) Logf(string, ...any)   {}
func (j *judge) Errorf(string, ...any) { j.ended = "failed" }
func (j *judge) Fatal(...any)          { j.Fatalf("") }
func (j *judge) Fatalf(string, ...any) {
	j.ended = "failed"
	runtime.Goexit()
}
func (j *judge) Skipf(string, ...any) {
	j.ended = "skipped"
	runtime.Goexit()
}

func ends(do func(t testing.TB)) string {
	j := &judge{ended: "passed"}
	done := make(chan struct{})
	go func() { defer close(done); do(j) }()
	<-done
	return j.ended
}

// TestStrict: what is missing skips or is left out, and fails where it must be there.
func TestStrict(t *testing.T) {
	tools, debs, scripts, odd := t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()
	for name, content := range map[string]string{
		filepath.Join(tools, "there"):        "#!/bin/sh\n",
		filepath.Join(debs, "one_1_all.deb"): "",
		filepath.Join(debs, "two_1_all.deb"): "",
		filepath.Join(debs, "two_2_all.deb"): "",
		filepath.Join(scripts, "well.txtar"): "[!exec:there] skip 'no'\n[linux] exec x\n",
		filepath.Join(odd, "well.txtar"):     "[exec:there] exec there\n",
		filepath.Join(odd, "leaves.txtar"):   "exec x\n[exec:not-there] exec not-there\n",
	} {
		if err := os.WriteFile(name, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("NBPACK_TEST_TOOLS", tools)
	t.Setenv("NBPACK_TEST_DEBS", debs)
	for what, tt := range map[string]struct {
		do            func(t testing.TB)
		plain, strict string
	}{
		"tool":            {func(t testing.TB) { Tool(t, "there") }, "passed", "passed"},
		"no tool":         {func(t testing.TB) { Tool(t, "not-there") }, "skipped", "failed"},
		"extra":           {func(t testing.TB) { Extra(t, "there") }, "passed", "passed"},
		"no extra":        {func(t testing.TB) { Extra(t, "not-there") }, "passed", "failed"},
		"package":         {func(t testing.TB) { Deb(t, "one") }, "passed", "passed"},
		"no package":      {func(t testing.TB) { Deb(t, "none") }, "skipped", "failed"},
		"two packages":    {func(t testing.TB) { Deb(t, "two") }, "passed", "passed"},
		"scripts":         {func(t testing.TB) { Scripts(t, scripts) }, "passed", "passed"},
		"scripts without": {func(t testing.TB) { Scripts(t, odd) }, "passed", "failed"},
		"no scripts":      {func(t testing.TB) { Scripts(t, debs) }, "passed", "failed"},
		"anything at all": {func(t testing.TB) { Missing(t, "%s", "x") }, "skipped", "failed"},
	} {
		for env, want := range map[string]string{"": tt.plain, "1": tt.strict} {
			t.Run(fmt.Sprintf("%s %q", what, env), func(t *testing.T) {
				t.Setenv("NBPACK_TEST_STRICT", env)
				if got := ends(tt.do); got != want {
					t.Errorf("%s, want %s", got, want)
				}
			})
		}
	}
}
