// Init is the first and only process of the machines that the boot tests start.
// It proves with one line on the console which kernel, which arguments and which
// initrd arrived, and ends the machine.
package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"syscall"
)

func main() {
	if err := prove(); err != nil {
		fmt.Println("NBPROOF-FAILED", err)
	}
	// With -no-reboot this is how the virtual machine ends.
	_ = syscall.Reboot(syscall.LINUX_REBOOT_CMD_RESTART)
}

func prove() error {
	if err := os.MkdirAll("/proc", 0o755); err != nil {
		return err
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return err
	}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return err
	}
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	payload, err := os.ReadFile("/payload")
	if err != nil {
		return err
	}
	// The end mark tells the reader of a serial line that the line is complete.
	fmt.Printf("\nNBPROOF kernel=%s sha256=%x cmdline=%q NBPROOF-END\n",
		bytes.TrimSpace(kernel), sha256.Sum256(payload), bytes.TrimSpace(cmdline))
	return nil
}
