package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/file"
	"oras.land/oras-go/v2/registry/remote"
)

// orasPullCommand pulls with the library of ORAS, whose own command cannot always be
// installed: a copy of all blobs into its store of files.
func orasPullCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "oras-pull HOST/REPO TAG DIR",
		Short:  "Pull an artifact as ORAS does",
		Args:   cobra.ExactArgs(3),
		Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return orasPull(cmd.Context(), args[0], args[1], args[2])
		},
	}
}

func orasPull(ctx context.Context, repository, tag, dir string) (err error) {
	from, err := remote.NewRepository(repository)
	if err != nil {
		return err
	}
	from.PlainHTTP = true
	to, err := file.New(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	_, err = oras.Copy(ctx, from, tag, to, tag, oras.DefaultCopyOptions)
	return err
}
