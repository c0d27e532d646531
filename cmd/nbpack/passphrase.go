package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/nbpack/nbpack/internal/cli"
)

const passphraseHelp = `The passphrase of the private key is the first line of --passphrase-file, else the
value of the environment variable COSIGN_PASSWORD, which may be empty, else it is
asked for on the terminal. It is never an argument: other users can see those.`

// maxPassphrase bounds a passphrase, in bytes.
const maxPassphrase = 4096

// passphraseFlags say where the passphrase of a private key comes from.
type passphraseFlags struct{ file string }

func (p *passphraseFlags) bind(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.file, "passphrase-file", "", "`FILE` whose first line is the passphrase of the private key")
	cli.SecretFile(cmd.Flags(), "passphrase-file")
}

// once gives what asks for the passphrase of a key that exists.
func (p *passphraseFlags) once(ctx context.Context, env *cli.Env) func() ([]byte, error) {
	return func() ([]byte, error) {
		if secret, ok, err := p.given(); ok || err != nil {
			return secret, err
		}
		env.StopProgress()
		return ask(ctx, "Passphrase of the private key: ")
	}
}

// twice gives what asks for the passphrase of a new key.
func (p *passphraseFlags) twice(ctx context.Context, env *cli.Env) func() ([]byte, error) {
	return func() ([]byte, error) {
		if secret, ok, err := p.given(); ok || err != nil {
			return secret, err
		}
		first, err := ask(ctx, "Passphrase for the new key: ")
		if err != nil {
			return nil, err
		}
		again, err := ask(ctx, "The same again: ")
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(first, again) {
			return nil, cli.Usage("the two passphrases differ")
		}
		return first, nil
	}
}

// given reads the passphrase that nobody has to be asked for.
func (p *passphraseFlags) given() (secret []byte, ok bool, err error) {
	if p.file == "" {
		value, ok := os.LookupEnv("COSIGN_PASSWORD")
		return []byte(value), ok, nil
	}
	f, err := os.Open(p.file)
	if err != nil {
		return nil, false, fmt.Errorf("read passphrase: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPassphrase+1))
	if err != nil {
		return nil, false, fmt.Errorf("read passphrase: %w", err)
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	if len(line) > maxPassphrase {
		return nil, false, cli.Usage("--passphrase-file: the first line has more than %d bytes", maxPassphrase)
	}
	return bytes.TrimSuffix(line, []byte("\r")), true, nil
}

// ask reads a line from the terminal without showing it. Standard input and output
// may be redirected. It ends early when ctx does.
func ask(ctx context.Context, prompt string) ([]byte, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, cli.WithHint(cli.Usage("the private key needs a passphrase, and there is no terminal to ask for it"),
			"set COSIGN_PASSWORD, or give --passphrase-file FILE")
	}
	defer tty.Close()
	restore, err := makeRaw(tty)
	if err != nil {
		return nil, fmt.Errorf("ask for the passphrase: %w", err)
	}
	defer restore()
	stop := context.AfterFunc(ctx, func() { _ = tty.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := io.WriteString(tty, prompt); err != nil {
		return nil, fmt.Errorf("ask for the passphrase: %w", err)
	}
	line, err := readHidden(tty)
	_, _ = io.WriteString(tty, "\r\n") // what was typed has not moved the cursor
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, context.Canceled):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("ask for the passphrase: %w", err)
	}
	return line, nil
}

// The keys that a raw terminal leaves to the program.
const (
	keyInterrupt, keyEnd, keyBackspace, keyKill, keyDelete = 0x03, 0x04, 0x08, 0x15, 0x7f
)

// readHidden reads a line byte by byte, so that nothing behind it is taken.
func readHidden(r io.Reader) ([]byte, error) {
	var line []byte
	var key [1]byte
	for len(line) <= maxPassphrase {
		if _, err := io.ReadFull(r, key[:]); err != nil {
			return nil, err
		}
		switch key[0] {
		case '\r', '\n':
			return line, nil
		case keyInterrupt, keyEnd: // a raw terminal makes no signals
			return nil, context.Canceled
		case keyBackspace, keyDelete:
			_, size := utf8.DecodeLastRune(line)
			line = line[:len(line)-size]
		case keyKill:
			line = line[:0]
		default:
			line = append(line, key[0])
		}
	}
	return nil, fmt.Errorf("more than %d bytes", maxPassphrase)
}

// makeRaw turns the echo off. It does not use Fd, after which a read could not be
// ended any more.
func makeRaw(tty *os.File) (restore func(), err error) {
	conn, err := tty.SyscallConn()
	if err != nil {
		return nil, err
	}
	var old *term.State
	var rawErr error
	if err := conn.Control(func(fd uintptr) { old, rawErr = term.MakeRaw(int(fd)) }); err != nil {
		return nil, err
	}
	if rawErr != nil {
		return nil, rawErr
	}
	return func() {
		// Nothing useful can be done about a terminal that is gone.
		_ = conn.Control(func(fd uintptr) { _ = term.Restore(int(fd), old) })
	}, nil
}
