package main

import (
	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/pack/bundle"
)

const bundleSources = `
A SOURCE is
  HOST/REPOSITORY[:TAG][@DIGEST]   an image in a registry; "docker://" may stand before
  oci:DIR, oci-archive:FILE        all images of another bundle; with :NAME, one of them

With --platform the entries of indexes for other platforms stay behind. The index
itself is carried as it is, so its digest and its signatures are right; the other
side can use what is there of it.`

func bundleCreateCommand(env *cli.Env) *cobra.Command {
	var f bundleFlags
	cmd := &cobra.Command{
		Use:   "create [flags] BUNDLE SOURCE...",
		Short: "Make a bundle of images",
		Long: `Fetch images with all that belongs to them into a new BUNDLE. Nothing can be seen
there before all of them are whole. A run that was interrupted or killed goes on
where it was when it is started again: what it had fetched lies in a hidden
directory, .nbpack-bundle in DIR or .FILE.nbpack-bundle beside FILE.

Standard output has a line for each image, with its digest.
` + bundleSources + `

With --since the bundle is a delta for a side that has an older one: it leaves out
the configs and layers that are there already. --since names
  the older bundle itself: a path, oci:DIR or oci-archive:FILE
  a list of the digests there, as "nbpack bundle list --blobs" prints it
  the index.json of that bundle; its images are then looked up in their registries
On the other side "nbpack bundle add" with the delta makes the older bundle what
adding the same images from their registries would.`,
		Example: `  # two releases as a directory, one architecture of a list as a file
  nbpack bundle create oci:bundle registry.example/netboot:debian-12 registry.example/netboot:debian-13
  nbpack bundle create --platform amd64 -f releases.txt oci-archive:releases.tar

  # only what the other side lacks
  nbpack bundle create --since last-month/index.json -f releases.txt oci-archive:delta.tar`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.create(cmd, env, args) },
	}
	f.bind(cmd)
	cmd.Flags().StringVar(&f.since, "since", "", "make a delta for who has the bundle, list of digests or index.json `FILE`")
	return cmd
}

func (f *bundleFlags) create(cmd *cobra.Command, env *cli.Env, args []string) error {
	dst, refs, err := f.parse(env, cmd.InOrStdin(), args)
	if err != nil {
		return err
	}
	client, err := newClient(env, &f.registry, dst)
	if err != nil {
		return err
	}
	defer client.Close()
	if cmd.Flag("since").Changed {
		if f.options.Since, err = bundle.ReadSince(cmd.Context(), client, f.since, env.Warn); err != nil {
			return err
		}
	}
	r, err := bundle.Create(cmd.Context(), client, dst, refs, f.options)
	if err != nil {
		return err
	}
	return f.report(env, r)
}

func bundleAddCommand(env *cli.Env) *cobra.Command {
	var f bundleFlags
	cmd := &cobra.Command{
		Use:   "add [flags] BUNDLE SOURCE...",
		Short: "Add images to a bundle, or bring them up to date",
		Long: `Bring images into a BUNDLE, in the place of those of the same names. Only what is
missing there is fetched; what no image needs any more is removed. Until all is
there the bundle stays as it was, and a run that was ended goes on where it was.

Standard output has a line for each image of the bundle, with its digest.
` + bundleSources + `

A SOURCE can be a delta. What it leaves out must be in BUNDLE.`,
		Example: `  # once a month: what is new in any of these
  nbpack bundle add oci:bundle -f releases.txt

  # on the other side: the delta that came over
  nbpack bundle add oci:bundle oci-archive:/media/stick/delta.tar

  # just these images, nothing older
  nbpack bundle add --prune oci:bundle -f releases.txt`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dst, refs, err := f.parse(env, cmd.InOrStdin(), args)
			if err != nil {
				return err
			}
			client, err := newClient(env, &f.registry, dst)
			if err != nil {
				return err
			}
			defer client.Close()
			r, err := bundle.Add(cmd.Context(), client, dst, refs, f.options)
			if err != nil {
				return err
			}
			return f.report(env, r)
		},
	}
	f.bind(cmd)
	fs := cmd.Flags()
	fs.BoolVar(&f.options.Prune, "prune", false, "remove the images that no SOURCE names")
	fs.BoolVarP(&f.options.Checksum, "checksum", "c", false, "judge what is there by content, not by size, and fetch what is damaged")
	return cmd
}
