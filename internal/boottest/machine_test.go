package boottest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nbpack/nbpack/internal/testneed"
)

// patience bounds one boot. On a quiet machine it takes about 15 s, all of it the
// emulation of a processor.
const patience = 150 * time.Second

// mac is the address of every machine here; loaders look for a configuration that
// is named after it.
const mac = "52:54:00:12:34:56"

// machine is a virtual machine that boots from the network.
type machine struct {
	stdin io.Writer
	log   *serialLog
	ended chan struct{}
}

// boot starts a machine, given as the emulator and its arguments, and ends it with
// the test. What it writes to its serial line is shown if the test fails.
func boot(t *testing.T, emulator ...string) *machine {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	// accel=tcg: emulation works everywhere, virtualisation needs rights.
	cmd := exec.CommandContext(ctx, emulator[0], append([]string{
		"-nodefaults", "-display", "none", "-no-reboot",
		"-chardev", "stdio,id=serial,signal=off", "-serial", "chardev:serial",
	}, emulator[1:]...)...)
	log := &serialLog{changed: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = log, log
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		log.end(errors.Join(cmd.Wait(), ctx.Err()))
	}()
	start := time.Now()
	t.Cleanup(func() {
		cancel()
		<-ended
		t.Logf("the machine ran for %s", time.Since(start).Round(100*time.Millisecond))
		if t.Failed() {
			t.Logf("its serial line: %q", log.text())
		}
	})
	return &machine{stdin: stdin, log: log, ended: ended}
}

// await waits until one of the texts is on the serial line, and gives it with all
// before and after it. A machine that ends without is a failure.
func (m *machine) await(t *testing.T, texts ...string) string {
	t.Helper()
	for {
		seen, changed, ended, err := m.log.state()
		for _, text := range texts {
			if strings.Contains(seen, text) {
				return seen
			}
		}
		if ended {
			t.Fatalf("the machine ended without one of %q: %v", texts, err)
		}
		<-changed
	}
}

// proof is what init of the machine said.
func (m *machine) proof(t *testing.T) string {
	t.Helper()
	text := m.await(t, "NBPROOF-END", "NBPROOF-FAILED")
	_, line, _ := strings.Cut(text, "NBPROOF ")
	line, _, complete := strings.Cut(line, " NBPROOF-END")
	if !complete {
		t.Fatal("init failed")
	}
	t.Log(line)
	return line
}

// typeIn sends text over the serial line.
func (m *machine) typeIn(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(m.stdin, text); err != nil {
		t.Fatal(err)
	}
}

// serialLog collects what a machine says, and tells who waits that there is more.
type serialLog struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	changed chan struct{}
	ended   bool
	err     error
}

func (l *serialLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := l.buf.Write(b)
	l.wake()
	return n, err
}

func (l *serialLog) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *serialLog) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended, l.err = true, err
	l.wake()
}

func (l *serialLog) state() (seen string, changed <-chan struct{}, ended bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String(), l.changed, l.ended, l.err
}

func (l *serialLog) text() string {
	seen, _, _, _ := l.state()
	return seen
}

// network is a card whose DHCP answer names bootfile; options go to qemu's own
// network, which has 10.0.2.2 for the host.
func network(bootfile string, options ...string) []string {
	user := append([]string{"user,id=n0,ipv6=off,bootfile=" + bootfile}, options...)
	return []string{
		"-netdev", strings.Join(user, ","),
		"-device", "virtio-net-pci,netdev=n0,bootindex=0,mac=" + mac,
	}
}

// tftp serves a directory by qemu's own TFTP server, to a machine that reaches
// nothing else.
func tftp(dir string) string {
	return "restrict=on,tftp=" + quote(dir)
}

// quote writes a value as qemu reads it in a list.
func quote(value string) string {
	return strings.ReplaceAll(value, ",", ",,")
}

// bios is a machine with SeaBIOS, and iPXE in the ROM of its network card.
func bios(net []string) []string {
	// graphics=off sends the text of the firmware to the serial line.
	return append([]string{emulators["amd64"], "-machine", "pc,accel=tcg,graphics=off", "-cpu", "qemu64", "-m", "256", "-boot", "n"}, net...)
}

// uefi is a machine with OVMF. With Secure Boot its variables hold the keys of
// Microsoft, as those of a machine from the shop.
func uefi(t *testing.T, secure bool, net []string) []string {
	t.Helper()
	const dir = "/usr/share/OVMF"
	code, vars, chipset := "OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd", "q35,accel=tcg"
	if secure {
		code, vars, chipset = "OVMF_CODE_4M.ms.fd", "OVMF_VARS_4M.ms.fd", "q35,accel=tcg,smm=on"
	}
	args := append([]string{emulators["amd64"], "-machine", chipset, "-cpu", "qemu64,+rdrand", "-m", "512"},
		flash(t, filepath.Join(dir, code), filepath.Join(dir, vars))...)
	if secure {
		args = append(args, "-global", "driver=cfi.pflash01,property=secure,value=on", "-global", "ICH9-LPC.disable_s3=1")
	}
	net[len(net)-1] += ",romfile=" // the ROM's iPXE would come before the firmware's own client
	return append(args, net...)
}

// virt is an arm64 machine with UEFI, without Secure Boot.
func virt(t *testing.T, net []string) []string {
	t.Helper()
	const dir = "/usr/share/AAVMF"
	args := append([]string{emulators["arm64"], "-machine", "virt,accel=tcg", "-cpu", "cortex-a57", "-m", "512"},
		flash(t, filepath.Join(dir, "AAVMF_CODE.fd"), filepath.Join(dir, "AAVMF_VARS.fd"))...)
	net[len(net)-1] += ",romfile=" // there is none for this architecture
	return append(args, net...)
}

// flash are the arguments for a machine with this firmware: its code, a copy of its
// variables, and the source of randomness without which newer ones have no network.
// Where it is not installed the test skips.
func flash(t *testing.T, code, vars string) []string {
	t.Helper()
	b, err := os.ReadFile(vars)
	if errors.Is(err, os.ErrNotExist) {
		testneed.Missing(t, "no firmware for UEFI: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	mine := filepath.Join(t.TempDir(), filepath.Base(vars))
	if err := os.WriteFile(mine, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{
		"-drive", "if=pflash,format=raw,unit=0,readonly=on,file=" + code,
		"-drive", "if=pflash,format=raw,unit=1,file=" + quote(mine),
		"-object", "rng-random,filename=/dev/urandom,id=rng", "-device", "virtio-rng-pci,rng=rng",
	}
}

// httpBoot has the firmware take the bootfile for the URL that it is. It would ask
// TFTP for a file of that name first, and try HTTP after all else failed.
func httpBoot(machine []string) []string {
	return append(machine,
		"-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=no",
		"-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=no")
}
