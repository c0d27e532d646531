package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/extract/fetch"
	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/transport"
)

func fetchCommand(env *cli.Env) *cobra.Command {
	var (
		o        fetch.Options
		registry cli.RegistryFlags
		mirrors  failoverFlags
		secret   pullSecret
		asJSON   bool
	)
	cmd := &cobra.Command{
		Use:   "fetch [flags] IMAGE -o FILE",
		Short: "Fetch one file, resolved as Ironic does",
		Long: `Fetch writes the one file that a reference means to Ironic: a kernel or a
ramdisk by the digest of its manifest, a disk image by its tag too. It prints
the digest of the file's blob; with --json everything that was decided.

IMAGE is oci://HOST/REPO[:TAG][@DIGEST], as Ironic has it, the same with or
without docker://, or an OCI layout, an archive or a directory, as for pull.

A digest names a manifest with one layer, which is the file. A tag (without one,
"latest") has to be in the repository's list of tags and names an index. Its
entries for another architecture than --arch do not count. Of the others, the
annotation disktype decides: with --source http first raw, then applehv, qcow2,
qemu; with --source local qcow2, qemu, raw, applehv. Entries without a disktype
come last, entries with any other do not count. Equal ones keep the order of the
index, and the first that has one layer is the file. An entry that is marked
neither by a disktype nor by an artifactType is a bootable container (bootc),
which is shown by --dry-run and never written.

Unlike Ironic, fetch checks the digest of the index, too, and reads an index in
which "annotations" or "platform" are null, with a warning.

FILE appears in one step, when every byte was proved; until then, and after a
failure, nothing has changed. A FILE that has the content already is left alone
and nothing is fetched. In a directory (-o DIR/) the file is named by the last
element of its title. A pipe or a device cannot be taken back when the last byte
proves wrong, so nothing but a regular file is written.

--pull-secret is Ironic's image_pull_secret: USER:PASSWORD, or a bare token for
registries that have a token server. Other users of this machine see the command
line; --pull-secret-file keeps the secret from them.`,
		Example: `  # a kernel, as published for kernel and ramdisk URLs
  nbextract fetch oci://registry.example/boot/fedora@sha256:… -o /srv/http/vmlinuz

  # the disk image that a conductor would take, without its compression
  nbextract fetch oci://registry.example/images/fedora:42 --arch x86_64 --source local --decompress -o disk.qcow2

  # what Ironic would take
  nbextract fetch oci://registry.example/images/fedora:42 --arch aarch64 --dry-run --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.Output == "" && !o.DryRun {
				return cli.WithHint(cli.Usage("fetch needs -o FILE"), "or --dry-run, to see what Ironic would take")
			}
			ref, err := transport.ParseReference(args[0])
			if err != nil {
				return cli.Usage("%w", err)
			}
			if err := mirrors.check(cmd); err != nil {
				return err
			}
			options := clientOptions(env, &registry, "")
			mirrors.apply(&options, nil)
			if options.PullSecret, err = secret.read(); err != nil {
				return err
			}
			client, err := transport.NewClient(options)
			if err != nil {
				return err
			}
			defer client.Close()
			o.Log, o.Warn = env.Info, env.Warn
			result, err := fetch.File(cmd.Context(), client, ref, o)
			env.StopProgress()
			if err != nil {
				return err
			}
			if asJSON {
				return env.JSON(result)
			}
			return printFetched(env, result)
		},
	}
	jsonFlag(cmd, &asJSON)
	registry.Bind(cmd.Flags())
	mirrors.bind(cmd)
	secret.bind(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.Output, "output", "o", "", "write to `FILE`, or into a directory under the file's title")
	f.StringVar(&o.Arch, "arch", "", "`ARCH` of the machine, such as amd64 or x86_64 (default: any)")
	f.StringVar(&o.Source, "source", fetch.SourceHTTP, "`http|local`: Ironic's image_download_source: machines write the disk themselves, or a conductor does")
	cli.Values(cmd, "source", fetch.SourceHTTP, fetch.SourceLocal)
	f.BoolVar(&o.Decompress, "decompress", false, "write the file without the zstd or gzip of its media type")
	f.BoolVarP(&o.DryRun, "dry-run", "n", false, "say which file it is and write nothing")
	return cmd
}

// printFetched prints the digest, which is what the caller does not know yet,
// and tells the rest on standard error. A cron job hears nothing.
func printFetched(env *cli.Env, r *fetch.Result) error {
	if env.Quiet() {
		return nil
	}
	env.Info("%s", describeFetched(r))
	_, err := fmt.Fprintln(env.Stdout, r.Digest)
	return err
}

func describeFetched(r *fetch.Result) string {
	what := []string{fmt.Sprintf("%q", r.URL)}
	if r.Title != "" {
		what = append(what, fmt.Sprintf("title %q", r.Title))
	}
	if r.Format != "" {
		what = append(what, "format "+fmt.Sprintf("%q", r.Format))
	}
	if r.Architecture != "" {
		what = append(what, fmt.Sprintf("architecture %q", r.Architecture))
	}
	if r.Size > 0 {
		what = append(what, fmt.Sprintf("%d bytes, compression %s", r.Size, r.Compression))
	}
	switch {
	case r.Path == "":
	case r.Changed:
		what = append(what, fmt.Sprintf("written to %q", r.Path))
	default:
		what = append(what, fmt.Sprintf("%q has it already", r.Path))
	}
	return strings.Join(what, ", ")
}

// pullSecret is where the secret comes from.
type pullSecret struct{ value, file string }

func (p *pullSecret) bind(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&p.value, "pull-secret", "", "log in with `SECRET`, a bare token or USER:PASSWORD, as Ironic's image_pull_secret")
	f.StringVar(&p.file, "pull-secret-file", "", "`FILE` with that secret in its first line")
	cli.SecretFile(f, "pull-secret-file")
	cmd.MarkFlagsMutuallyExclusive("pull-secret", "pull-secret-file", "creds")
}

// maxSecret bounds a secret; tokens have a few thousand bytes.
const maxSecret = 64 << 10

// read gives the secret, empty where there is none.
func (p *pullSecret) read() (string, error) {
	if p.file == "" {
		return p.value, nil
	}
	f, err := os.Open(p.file)
	if err != nil {
		return "", fmt.Errorf("read the pull secret: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecret))
	if err != nil {
		return "", fmt.Errorf("read the pull secret: %w", err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	if line = strings.TrimRight(line, "\r"); line == "" {
		return "", fmt.Errorf("read the pull secret: the first line of %q is empty", p.file)
	}
	return line, nil
}
