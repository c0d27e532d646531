package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/extract/mirror"
	"github.com/nbpack/nbpack/internal/cli"
)

// webFlags ask for the configuration of a web server for a mirror.
type webFlags struct{ kind string }

func (w *webFlags) bind(cmd *cobra.Command) {
	kinds := mirror.ConfigKinds()
	cmd.Flags().StringVar(&w.kind, "print-config", "", "print the configuration of a web server for DIR, or a script that copies it, and do nothing: `"+strings.Join(kinds, "|")+"`")
	cli.Values(cmd, "print-config", kinds...)
}

func (w *webFlags) print(out io.Writer, dir string, references int) error {
	if references > 0 {
		return cli.Usage("--print-config wants the directory of the mirror alone")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("find the directory of the mirror: %w", err)
	}
	text, err := mirror.Config(w.kind, dir)
	if err != nil {
		return cli.Usage("%w", err)
	}
	_, err = io.WriteString(out, text)
	return err
}
