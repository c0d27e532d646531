// Command nbpack packs boot files into netboot images. See "nbpack --help" and
// README.md.
package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/transport"
)

func main() { cli.Main(app()) }

func app() cli.App { return cli.App{Name: "nbpack", Root: root} }

func root(env *cli.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "nbpack",
		Short: "Pack boot files into netboot images",
		Long: `nbpack packs the files that machines boot from over the network (shim, grub,
pxelinux, kernel, initrd) into one container image, so that they travel, are
signed and are updated together. nbextract turns such an image into a boot tree
again.

The same files and flags give the same image, down to the digest: on any
machine, by any user, at any time.

An IMAGE is one of
  docker://HOST/REPOSITORY[:TAG]   in a registry; "docker://" may be left out
  oci:DIR[:TAG]                    in an OCI layout
  oci-archive:FILE[:TAG]           in an OCI layout in a tar file
  dir:DIR                          in a directory of plain files
  containers-storage:NAME[:TAG]    in the storage of podman, only to read

Exit codes: 0 done; 1 failed; 2 wrong usage; 3 content refused; 4 not found;
130 interrupted.`,
		Example: `  nbpack build --os-name debian --os-version 12 --platform linux/amd64 \
      ./netboot registry.example/netboot:debian-12
  nbpack lint registry.example/netboot:debian-12
  nbpack inspect oci:./layout:debian-12`,
	}
	cmd.AddCommand(buildCommand(env), indexCommand(env), lintCommand(env), inspectCommand(env),
		keygenCommand(env), signCommand(env), verifyCommand(env), rebuildCommand(env), bundleCommand(env), relocateCommand(env))
	return cmd
}

// newClient makes the one client of a run. --creds are for the registry of owner,
// the reference that is written or worked on, and no other one; if it is local, for
// those that are read.
func newClient(env *cli.Env, flags *cli.RegistryFlags, owner transport.Reference) (*transport.Client, error) {
	return transport.NewClient(transport.Options{
		AuthFile: flags.AuthFile, Creds: flags.Creds, CredsHost: owner.Host(), CertDir: flags.CertDir, TLSVerify: flags.TLSVerify,
		UserAgent: "nbpack/" + strings.Fields(cli.Version())[0],
		Log:       env.Debug, Progress: env.Progress(),
	})
}

// withSource opens an image for reading and calls f with it.
func withSource(cmd *cobra.Command, env *cli.Env, flags *cli.RegistryFlags, image string, f func(transport.Reference, transport.Source) error) error {
	ref, err := transport.ParseReference(image)
	if err != nil {
		return err
	}
	client, err := newClient(env, flags, ref)
	if err != nil {
		return err
	}
	defer client.Close()
	src, err := client.Source(cmd.Context(), ref)
	if err != nil {
		return err
	}
	defer src.Close()
	return f(ref, src)
}
