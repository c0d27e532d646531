//go:build linux

package bootdir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

var errKilled = errors.New("killed")

// fault gives a hook that fails step n: once with an error, or from there on,
// as if the process were gone.
type fault struct {
	name   string
	err    error
	sticky bool
}

var faults = []fault{{"kill", errKilled, true}, {"ENOSPC", unix.ENOSPC, false}, {"EIO", unix.EIO, false}}

func (f fault) at(n int) (hook func(op, path string) error, hit *string) {
	count := 0
	hit = new(string)
	return func(op, path string) error {
		count++
		if count == n {
			*hit = op + " " + path
		}
		if count == n || f.sticky && count > n {
			return f.err
		}
		return nil
	}, hit
}

// quickDir gives a directory in memory where there is one: the matrix makes
// thousands of trees, and syncing them to a disk proves nothing here.
func quickDir(t testing.TB) string {
	t.Helper()
	if unix.Access("/dev/shm", unix.W_OK) == nil {
		if dir, err := os.MkdirTemp("/dev/shm", "bootdir-test-"); err == nil {
			t.Cleanup(func() { os.RemoveAll(dir) })
			return dir
		}
	}
	return t.TempDir()
}

// measure runs a scenario without faults: it gives the trees before and after,
// and the number of steps.
func (s scenario) measure(t testing.TB, dir string) (outcome, int) {
	t.Helper()
	s.setup(t, dir)
	o := outcome{old: visible(t, dir, s.live)}
	steps := 0
	if err := s.run(dir, Options{hook: func(op, path string) error { steps++; return nil }}); err != nil {
		t.Fatal(err)
	}
	o.new = visible(t, dir, s.live)
	s.checkConverged(t, dir, o)
	return o, steps
}

// cutOff runs a scenario with a fault, and again without.
func (s scenario) cutOff(t *testing.T, dir string, o outcome, f fault, n int) {
	s.setup(t, dir)
	hook, hit := f.at(n)
	err := s.run(dir, Options{hook: hook})
	defer func() {
		if t.Failed() {
			t.Logf("at %s the run gave %v", *hit, err)
		}
	}()
	s.checkVisible(t, dir, o)
	if err == nil && !f.sticky && fmt.Sprint(visible(t, dir, s.live)) != fmt.Sprint(o.new) {
		t.Error("reported success without the new tree")
	}
	if n%2 == 0 { // the next run may be about something else
		if err := openOnly(dir); err != nil {
			t.Errorf("open: %v", err)
		}
		s.checkVisible(t, dir, o)
	}
	if err := s.run(dir, Options{}); err != nil {
		t.Errorf("next run: %v", err)
	}
	s.checkConverged(t, dir, o)
}

// TestCrashMatrix cuts every scenario off at every file-changing step, by a
// kill, by a full disk and by an I/O error.
func TestCrashMatrix(t *testing.T) {
	for _, s := range append(scenarios(), severalScenarios()...) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			base := quickDir(t)
			o, steps := s.measure(t, filepath.Join(base, "measure "+s.name))
			t.Logf("%d steps", steps)
			step := 1
			if testing.Short() {
				step = 7
			}
			points := 0
			for n := 1; n <= steps; n += step {
				for _, f := range faults {
					points++
					ok := t.Run(fmt.Sprintf("%s/%d", f.name, n), func(t *testing.T) {
						dir := filepath.Join(base, "cut")
						defer os.RemoveAll(dir)
						s.cutOff(t, dir, o, f, n)
					})
					if !ok {
						return // the others fail alike
					}
				}
			}
			t.Logf("%d points", points)
		})
	}
}

const (
	killScenario = "BOOTDIR_TEST_KILL_SCENARIO"
	killStep     = "BOOTDIR_TEST_KILL_STEP"
	killDir      = "BOOTDIR_TEST_KILL_DIR"
)

// TestMain lets the test binary be the process that is killed.
func TestMain(m *testing.M) {
	if name := os.Getenv(killScenario); name != "" {
		var n int
		fmt.Sscan(os.Getenv(killStep), &n)
		count := 0
		hook := func(op, path string) error {
			if count++; count == n {
				_ = unix.Kill(os.Getpid(), unix.SIGKILL)
				select {} // the signal is on its way
			}
			return nil
		}
		for _, s := range scenarios() {
			if s.name == name {
				if err := s.run(os.Getenv(killDir), Options{hook: hook}); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
			}
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestRealKill kills a real process at a selection of steps.
func TestRealKill(t *testing.T) {
	self, err := os.Executable()
	must(t, err)
	base := quickDir(t)
	for _, s := range scenarios() {
		if !strings.Contains(" update with strangers|flat update|link update|prune|resumed update|", s.name+"|") {
			continue
		}
		o, steps := s.measure(t, filepath.Join(base, "measure "+s.name))
		for n := 1; n <= steps; n += max(steps/12, 1) {
			t.Run(fmt.Sprintf("%s/%d", s.name, n), func(t *testing.T) {
				dir := filepath.Join(base, "cut")
				defer os.RemoveAll(dir)
				s.setup(t, dir)
				p, err := os.StartProcess(self, []string{self}, &os.ProcAttr{Files: []*os.File{nil, nil, os.Stderr},
					Env: append(os.Environ(), killScenario+"="+s.name, fmt.Sprintf("%s=%d", killStep, n), killDir+"="+dir)})
				must(t, err)
				state, err := p.Wait()
				must(t, err)
				if !strings.Contains(state.String(), "killed") {
					t.Fatalf("process ended with %v", state)
				}
				s.checkVisible(t, dir, o)
				if err := s.run(dir, Options{}); err != nil {
					t.Errorf("next run: %v", err)
				}
				s.checkConverged(t, dir, o)
			})
		}
	}
}
