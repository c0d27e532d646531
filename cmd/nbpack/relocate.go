package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/pack/relocate"
)

const relocateLong = `Copy images from their registries, or from a bundle, to repositories below one
prefix, and print where each of them is now. Images, indexes with all that they
name, and artifacts of any kind are copied byte for byte: tags and digests stay.
What is attached to them comes along: whatever refers to them, and the tags of
cosign (sha256-….sig, .att, .sbom). Layers that an image only names by URL are
fetched, if their host is allowed, so that the copy is whole.

The new name of a repository is the prefix, the path of the old name with "-" for
"/", and a hash of the whole old name:
  registry.example/os/boot:42  →  HOST/PATH/os-boot-HASH:42
That is the mapping of image-relocation and duffle. One repository becomes one
repository; two that would become the same one are refused. A REF without a
registry means the one that docker takes for it.

Images come from the arguments and from --file: one reference on each line, where
"#" begins a comment, or the bundle.json of a CNAB bundle. With --from they are
looked up in a bundle (nbpack bundle), all of it if none are named.

Standard output is a JSON object with the list "images" of objects with "original",
"relocated", "digest" (null where it is not known, as in a dry run), "changed" and,
if it failed, "error". For a bundle.json it is the relocation map of CNAB instead:
new references by those of the bundle. When some images fail the others are copied
all the same, and the exit code is 1, or the one that all failures have in common
(3 content refused, 4 not found). What is in the destination is not copied again, so
the same command goes on after an interruption, and brings up to date later.`

const relocateExample = `  # where would they go? nobody is asked
  nbpack relocate --dry-run --prefix mirror.example/netboot registry.example/os/boot:42

  # a list, with the map kept, and a catalogue that names the copies
  nbpack relocate --prefix mirror.example/netboot -f images.txt --map map.json \
      --rewrite catalog.yaml

  # behind an air gap, from a bundle
  nbpack relocate --prefix mirror.example:5000 --from oci-archive:netboot.tar

  # the images of a CNAB bundle
  nbpack relocate --prefix mirror.example/app -f bundle.json > relocation-mapping.json`

// relocateCmd is "nbpack relocate".
type relocateCmd struct {
	env      *cli.Env
	registry cli.RegistryFlags
	srcCreds string

	prefix, suffix string
	lists          []string
	from           string
	mapFile        string
	rewrite        []string
	jobs           int
	recheck        bool
	dryRun         bool
	urlHosts       []string
	private        bool
}

func relocateCommand(env *cli.Env) *cobra.Command {
	r := &relocateCmd{env: env}
	cmd := &cobra.Command{
		Use:     "relocate [flags] --prefix HOST[/PATH] [REF...]",
		Short:   "Copy images to another registry under names that tell where they came from",
		Long:    relocateLong,
		Example: relocateExample,
		RunE:    func(cmd *cobra.Command, args []string) error { return r.run(cmd.Context(), cmd.InOrStdin(), args) },
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&r.prefix, "prefix", "", "`HOST[:PORT][/PATH]` that new names begin with (required)")
	fs.StringVar(&r.suffix, "suffix", string(relocate.MD5), "`md5|sha256`: hash at the end of new names, as other tools have it, or one that nobody can make collide")
	fs.StringArrayVarP(&r.lists, "file", "f", nil, "`FILE` with a list of images, or a bundle.json of CNAB; - is standard input (may be repeated)")
	fs.StringVar(&r.from, "from", "", "read the images from this `BUNDLE`, oci:DIR or oci-archive:FILE, and not from their registries")
	fs.StringVar(&r.mapFile, "map", "", "write the map, with digests and errors, to `FILE`, too")
	fs.StringArrayVar(&r.rewrite, "rewrite", nil, "put the new references into this text `FILE` once all images are copied (may be repeated)")
	fs.IntVar(&r.jobs, "jobs", relocate.DefaultJobs, "`N` images are copied at once")
	fs.BoolVar(&r.recheck, "recheck", false, "look for every blob, also below manifests that the destination has")
	fs.BoolVar(&r.dryRun, "dry-run", false, "print the map and what --rewrite would change; no registry is asked, nothing is copied or rewritten")
	fs.StringArrayVar(&r.urlHosts, "allow-url-host", nil, "fetch layers that the registry lacks from the URLs that the image names, on `HOST[:PORT]` only (may be repeated)")
	fs.BoolVar(&r.private, "allow-private-hosts", false, "let such URLs lead to private addresses")
	fs.StringVar(&r.srcCreds, "src-creds", "", "log in as `USER[:PASSWORD]` at the one registry where images are read; --creds is for the registry of --prefix")
	r.registry.Bind(fs)
	cli.Values(cmd, "suffix", relocate.Suffixes()...)
	return cmd
}

func (r *relocateCmd) run(ctx context.Context, stdin io.Reader, args []string) error {
	if r.prefix == "" {
		return cli.WithHint(cli.Usage("no --prefix says where the images go"), "name a registry, and a path in it: --prefix registry.example/mirror")
	}
	if r.jobs < 1 {
		return cli.Usage("--jobs is %d, not a number from 1", r.jobs)
	}
	mapping, err := relocate.NewMapping(r.prefix, relocate.Suffix(r.suffix))
	if err != nil {
		return err
	}
	images, cnab, err := r.images(stdin, args)
	if err != nil {
		return err
	}
	bundle, err := r.bundle()
	if err != nil {
		return err
	}
	if bundle != nil {
		defer bundle.Close()
		if len(args) == 0 && len(r.lists) == 0 {
			if images, err = relocate.BundleImages(bundle); err != nil {
				return err
			}
		}
	}
	if err := r.oneSource(images); err != nil {
		return err
	}
	plan, err := relocate.NewPlan(images, mapping)
	if err != nil {
		return err
	}
	files, err := r.files()
	if err != nil {
		return err
	}
	if !r.dryRun {
		err = r.copy(ctx, plan, bundle, mapping.Host())
	}
	r.env.StopProgress()
	// What is known is written in any case.
	if werr := r.report(plan.Map(), cnab); werr != nil {
		return errors.Join(err, werr)
	}
	if err != nil {
		if len(files) > 0 {
			r.env.Warn("no file was rewritten, because not all images were relocated")
		}
		return err
	}
	return r.rewriteFiles(files, relocate.NewRewriter(plan.Map()))
}

// images reads the arguments and the lists. cnab: there was one bundle.json and
// nothing else.
func (r *relocateCmd) images(stdin io.Reader, args []string) (images []relocate.Image, cnab bool, err error) {
	if len(args) == 0 && len(r.lists) == 0 && r.from == "" {
		return nil, false, cli.WithHint(cli.Usage("no images to relocate"), "name them, or a list with --file, or a bundle with --from")
	}
	if images, err = relocate.ParseImages(args); err != nil {
		return nil, false, err
	}
	for _, name := range r.lists {
		list, err := cli.ReadList(name, stdin)
		if err != nil {
			return nil, false, err
		}
		if relocate.IsCNAB(list.Text) {
			more, err := relocate.ParseCNAB(list.Name, list.Text)
			if err != nil {
				return nil, false, err
			}
			images = append(images, more...)
			cnab = len(r.lists) == 1 && len(args) == 0
			continue
		}
		if err := list.Each(func(ref string) error {
			i, err := relocate.ParseImage(ref)
			images = append(images, i)
			return err
		}); err != nil {
			return nil, false, err
		}
	}
	return images, cnab, nil
}

// bundle opens the one of --from, nil without.
func (r *relocateCmd) bundle() (*transport.Bundle, error) {
	if r.from == "" {
		return nil, nil
	}
	ref, err := transport.ParseBundle(r.from)
	if err != nil {
		return nil, cli.Usage("--from: %w", err)
	}
	return transport.OpenBundle(ref)
}

// files opens the files of --rewrite, before anything is copied.
func (r *relocateCmd) files() (files []*relocate.File, err error) {
	for _, name := range r.rewrite {
		f, err := relocate.OpenFile(name)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// oneSource keeps --src-creds to the one registry that they are for: which of
// several that would be, nothing says.
func (r *relocateCmd) oneSource(images []relocate.Image) error {
	if r.srcCreds == "" || r.from != "" {
		return nil
	}
	for _, i := range images {
		if one, other := images[0].Reference().Host(), i.Reference().Host(); one != other {
			return cli.WithHint(cli.Usage("--src-creds are for one registry, and the images are in %q and %q", one, other),
				"put the credentials of each into a file, with podman login, or relocate the images of one registry at a time")
		}
	}
	return nil
}

// copy carries the plan out.
func (r *relocateCmd) copy(ctx context.Context, plan *relocate.Plan, bundle *transport.Bundle, host string) error {
	to, err := r.client(r.registry.Creds)
	if err != nil {
		return err
	}
	defer to.Close()
	from, err := r.client(r.srcCreds)
	if err != nil {
		return err
	}
	defer from.Close()
	return plan.Run(ctx, relocate.Options{
		To: to, Jobs: r.jobs, Recheck: r.recheck, Warn: r.env.Warn,
		Open: func(ctx context.Context, ref transport.Reference) (transport.AttachmentSource, error) {
			if bundle != nil {
				return bundle.Source(ref)
			}
			client := from
			if ref.Host() == host && r.srcCreds == "" {
				client = to // who may write there may read
			}
			src, err := client.Source(ctx, ref)
			if err != nil {
				return nil, err
			}
			return transport.Attachments(src)
		},
		Done: func(original, relocated string, changed bool, err error) {
			switch {
			case err != nil:
				r.env.Warn("%s was not relocated: %v", original, err)
			case changed:
				r.env.Info("%s is %s", original, relocated)
			}
		},
	})
}

// client makes a client that logs in with creds, or with what the credential files
// say. No registry sees what is meant for another one.
func (r *relocateCmd) client(creds string) (*transport.Client, error) {
	return transport.NewClient(transport.Options{
		AuthFile: r.registry.AuthFile, Creds: creds, CertDir: r.registry.CertDir, TLSVerify: r.registry.TLSVerify,
		URLHosts: r.urlHosts, AllowPrivateHosts: r.private,
		UserAgent: "nbpack/" + strings.Fields(cli.Version())[0],
		Log:       r.env.Debug, Warn: r.env.Warn, Progress: r.env.Progress(),
	})
}

// report prints the map, also if the file of --map, which it writes, cannot be written.
func (r *relocateCmd) report(m *relocate.Map, cnab bool) error {
	err := r.writeMap(m)
	if cnab {
		return errors.Join(err, r.env.JSON(m.CNAB()))
	}
	return errors.Join(err, r.env.JSON(m))
}

func (r *relocateCmd) writeMap(m *relocate.Map) error {
	if r.mapFile == "" {
		return nil
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err == nil {
		err = relocate.WriteFile(r.mapFile, append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write the map: %w", err)
	}
	return nil
}

// rewriteFiles changes the files of --rewrite, or says what would be changed.
func (r *relocateCmd) rewriteFiles(files []*relocate.File, by *relocate.Rewriter) error {
	for _, f := range files {
		changes := f.Changes(by)
		if !r.dryRun {
			var err error
			if changes, err = f.Rewrite(by); err != nil {
				return err
			}
		}
		for _, c := range changes {
			r.env.Info("%s:%d: %s → %s", f.Name(), c.Line, c.From, c.To)
		}
		what := "references rewritten"
		if r.dryRun {
			what = "references that would be rewritten"
		}
		r.env.Info("%s: %s: %d", f.Name(), what, len(changes))
	}
	return nil
}
