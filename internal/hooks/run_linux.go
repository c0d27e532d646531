package hooks

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Run starts the program and waits for it. facts are what it is told, by name
// without Prefix; the rest of its environment is that of this process. Its
// standard input is empty, and what this process has opened, such as the lock
// of a boot directory, it does not get.
//
// The program leads a process group of its own. When ctx ends or the time is
// over the group gets SIGTERM, and SIGKILL where that does not help; ctx.Err()
// is the error then, or an [Error] for the time. What is left of the group when
// the program has ended is killed, too: nothing of a hook outlives it unless it
// left the group.
func (p Program) Run(ctx context.Context, facts map[string]string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	out := &lines{out: p.Output}
	cmd := exec.Command(p.Argv[0], p.Argv[1:]...)
	cmd.Env = p.environment(facts)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// One that left the group may hold the pipe for ever.
	cmd.WaitDelay = p.patience()
	if err := cmd.Start(); err != nil {
		return &Error{Program: p.Argv[0], Err: fmt.Errorf("does not start: %w", cause(err))}
	}
	stopped := p.watch(ctx, cmd.Process.Pid)
	err := cmd.Wait()
	out.end()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case stopped:
		err = fmt.Errorf("was stopped after %v", p.timeout())
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return nil
	default:
		err = fmt.Errorf("ended with %w", err)
	}
	return &Error{Program: p.Argv[0], Err: err, Said: out.last}
}

// watch waits until the program has ended, of itself or not, and kills what it
// left. The program is not reaped before: as long as it is there, its number
// names its group and nobody else's. It tells whether the time was over.
func (p Program) watch(ctx context.Context, pid int) (stopped bool) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for errors.Is(unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
		}
	}()
	timer := time.NewTimer(p.timeout())
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
		stopped = true
	case <-ctx.Done():
	}
	if stopped || ctx.Err() != nil {
		_ = unix.Kill(-pid, unix.SIGTERM)
		timer.Reset(p.patience())
		select {
		case <-ended:
		case <-timer.C:
		}
	}
	// Nothing to kill is the usual case.
	_ = unix.Kill(-pid, unix.SIGKILL)
	<-ended
	return stopped
}

func (p Program) timeout() time.Duration {
	if p.Timeout > 0 {
		return p.Timeout
	}
	return DefaultTimeout
}

func (p Program) patience() time.Duration {
	if p.grace > 0 {
		return p.grace
	}
	return killGrace
}

// cause leaves out of an error the name that the message has already.
func cause(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
