package pack

import (
	"context"
	"fmt"
	"slices"

	"github.com/nbpack/nbpack/internal/source"
	"github.com/nbpack/nbpack/spec"
)

// deduce completes what the user left open by what the sources say about
// themselves, where all that say something say the same. What the user says
// about the os counts, with a remark if the sources say something else: how a
// site calls a release is its own concern. A platform that contradicts them is
// refused, because such files do not boot. The machine that packs never counts.
func deduce(ctx context.Context, o *Options, set *source.Set) error {
	facts := set.Facts()
	for _, f := range []struct {
		key  source.FactKey
		flag string
		to   *string
	}{
		{source.FactOSName, "--os-name", &o.OSName},
		{source.FactOSVersion, "--os-version", &o.OSVersion},
	} {
		said, ok := agreed(facts, f.key)
		switch {
		case !ok:
		case *f.to == "":
			*f.to = said.Value
		case *f.to != said.Value:
			o.log("%s is %q, but %q says %q", f.flag, *f.to, said.From, said.Value)
		}
	}
	return deducePlatform(ctx, o, set, facts)
}

func deducePlatform(ctx context.Context, o *Options, set *source.Set, facts []source.Fact) error {
	given := o.Platform != (spec.Platform{})
	if !given && len(having(facts, source.FactPlatform)) == 0 && o.Format != FormatFile {
		var err error
		if facts, err = set.Machines(ctx); err != nil {
			return err
		}
	}
	said, ok := agreed(facts, source.FactPlatform)
	if !ok {
		if given {
			return nil
		}
		return badOption("give the platform that the boot files are for, as in --platform linux/amd64; it is never guessed from this machine",
			"--platform is required: %s", unclear(having(facts, source.FactPlatform)))
	}
	p, err := spec.ParsePlatform(said.Value)
	if err != nil {
		return fmt.Errorf("the platform that %q says: %w", said.From, err)
	}
	if !given {
		o.Platform = p
		return nil
	}
	if p.OS != o.Platform.OS || p.Architecture != o.Platform.Architecture {
		return refuse(rulePlatform, "", "correct --platform, or the sources",
			"the platform is given as %s, but %q is for %s", o.Platform, said.From, p)
	}
	return nil
}

// unclear says why the platform is not known.
func unclear(facts []source.Fact) string {
	if len(facts) == 0 {
		return "the sources do not say it"
	}
	other := facts[slices.IndexFunc(facts, func(f source.Fact) bool { return f.Value != facts[0].Value })]
	return fmt.Sprintf("%q says %s, and %q says %s", facts[0].From, facts[0].Value, other.From, other.Value)
}

func having(facts []source.Fact, key source.FactKey) []source.Fact {
	var list []source.Fact
	for _, f := range facts {
		if f.Key == key {
			list = append(list, f)
		}
	}
	return list
}

// agreed gives a fact that all sources that know it agree about.
func agreed(facts []source.Fact, key source.FactKey) (source.Fact, bool) {
	list := having(facts, key)
	for _, f := range list {
		if f.Value != list[0].Value {
			return f, false
		}
	}
	if len(list) == 0 {
		return source.Fact{}, false
	}
	return list[0], true
}

// deduceEntrypoints takes the entrypoints that an image has as those of what is
// made of it, where the files still have their names.
func (t tree) deduceEntrypoints(o *Options, facts []source.Fact) {
	for _, f := range []struct {
		key source.FactKey
		to  *string
	}{
		{source.FactEntrypoint, &o.Entrypoint},
		{source.FactAltEntrypoint, &o.AltEntrypoint},
		{source.FactLegacyEntrypoint, &o.LegacyEntrypoint},
	} {
		said, ok := agreed(facts, f.key)
		if e := t[said.Value]; ok && *f.to == "" && e != nil && e.Type == spec.TypeFile {
			*f.to = said.Value
		}
	}
}
