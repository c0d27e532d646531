package main

import (
	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/cli"
)

// wearFlags say who owns what is laid out, and with which modes and label.
type wearFlags struct{ chown, chmod, label string }

func (w *wearFlags) bind(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&w.chown, "chown", "", "`USER[:GROUP]` or :GROUP that owns what is laid out (default: what is there, else who runs this)")
	f.StringVar(&w.chmod, "chmod", "", "octal `MODES` of what is laid out, as D0750,F0440 (default: what is there, else D0755,F0444)")
	f.StringVar(&w.label, "selinux-label", "", "SELinux `LABEL` of what is laid out, or only its type, as tftpdir_t (default: as the boot directory has it)")
	for _, name := range []string{"chmod", "selinux-label"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
}

func (w *wearFlags) parse() (*bootdir.Attributes, error) {
	a, err := bootdir.ParseAttributes(w.chown, w.chmod, w.label)
	if err != nil {
		return nil, cli.Usage("%w", err)
	}
	return a, nil
}
