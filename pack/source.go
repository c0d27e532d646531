package pack

import (
	"context"
	"slices"

	"github.com/nbpack/nbpack/internal/source"
)

// openSources looks at all sources, for what the filter lets through.
func openSources(ctx context.Context, o *Options, f *filter, v *verification) (*source.Set, error) {
	so := source.Options{
		Sources:  o.Sources,
		Plain:    o.Format == FormatFile,
		Chosen:   len(o.Include) > 0,
		Take:     func(name string) bool { return !f.excluded(name) && f.included(name) },
		Prune:    f.excluded,
		Platform: o.Platform,
		Client:   o.Client, PlainHTTP: o.PlainHTTP, TempDir: o.TempDir,
		Log: o.Log, Progress: o.Progress,
		Pins: o.Pins, Skip: v.skip,
		Hash: o.Describe || mayTellVersion(o, v),
	}
	if o.again != nil {
		so.Found, so.Skip = o.again.found, slices.Concat(v.skip, o.again.skip)
	}
	if len(v.lists) > 0 {
		so.Admit = v.admit
	}
	return source.Open(ctx, so)
}

// mayTellVersion tells whether the payload may get a file that names the digests
// of sources. Install trees may bring publishers' checksums themselves.
func mayTellVersion(o *Options, v *verification) bool {
	if o.VersionFile != nil {
		return *o.VersionFile
	}
	return len(v.lists) > 0 || slices.ContainsFunc(o.Sources, source.IsTree)
}
