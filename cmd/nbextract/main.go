// Command nbextract keeps boot trees on a PXE server equal to netboot images in
// a registry. See "nbextract --help" and README.md.
package main

import (
	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/internal/cli"
)

func main() { cli.Main(app()) }

func app() cli.App { return cli.App{Name: "nbextract", Root: root} }

func root(env *cli.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "nbextract",
		Short: "Keep boot trees equal to netboot images",
		Long: `nbextract lays out the boot files of netboot images (shim, grub, kernel,
initrd) below a directory that a TFTP or HTTP server serves, and keeps them up
to date.

It asks one question when nothing changed, proves every byte against the image
before it becomes visible, and swaps the whole set of files in at once, so that
no machine boots from a half-updated tree.

Exit codes: 0 done, or nothing to do; 1 failed; 2 wrong usage; 3 content
refused (digest, checksum, format, downgrade); 4 not found, or no such
platform; 75 another run works on the directory; 130 interrupted.`,
		Example: `  nbextract pull registry.example/netboot:fedora-42 -d /var/lib/tftpboot --platform linux/amd64
  nbextract status -d /var/lib/tftpboot
  nbextract rollback -d /var/lib/tftpboot fedora/42/amd64`,
	}
	cmd.AddCommand(
		pullCommand(env), syncCommand(env), listCommand(env), fetchCommand(env),
		statusCommand(env), verifyCommand(env),
		rollbackCommand(env), unpinCommand(env), pruneCommand(env),
		serveCommand(env), mirrorCommand(env),
	)
	return cmd
}
