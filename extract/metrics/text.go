package metrics

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// gauges is a list of metrics in the text format of Prometheus, in which those of
// one name stand together below what they are.
type gauges struct {
	families []*family
	base     []string // label pairs that all have
}

type family struct {
	name, help string
	samples    []string
}

// family begins the metrics of one name. Without a sample nothing of it is
// written.
func (g *gauges) family(name, help string) *sampler {
	f := &family{name: "nbextract_" + name, help: help}
	g.families = append(g.families, f)
	return &sampler{f, g.base}
}

type sampler struct {
	f    *family
	base []string
}

// add adds a sample; labels are names and values in turn.
func (s *sampler) add(value float64, labels ...string) {
	var b strings.Builder
	b.WriteString(s.f.name)
	sep := "{"
	all := append(s.base[:len(s.base):len(s.base)], labels...)
	for i := 0; i < len(all); i += 2 {
		fmt.Fprintf(&b, `%s%s="%s"`, sep, all[i], escapeLabel(all[i+1]))
		sep = ","
	}
	if len(all) > 0 {
		b.WriteString("}")
	}
	b.WriteString(" " + strconv.FormatFloat(value, 'f', -1, 64))
	s.f.samples = append(s.f.samples, b.String())
}

// at adds a time, in seconds since 1970, if there is one.
func (s *sampler) at(t time.Time, labels ...string) {
	if !t.IsZero() {
		s.add(float64(t.UnixMilli())/1000, labels...)
	}
}

// escapeLabel makes any text a label value; the format knows three escapes.
func escapeLabel(v string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(strings.ToValidUTF8(v, "\uFFFD"))
}

func (g *gauges) text() []byte {
	var b bytes.Buffer
	for _, f := range g.families {
		if len(f.samples) == 0 {
			continue
		}
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s gauge\n", f.name, f.help, f.name)
		for _, s := range f.samples {
			b.WriteString(s + "\n")
		}
	}
	return b.Bytes()
}

// metricsMode lets the collector read the file, which runs as another user.
const metricsMode = 0o644

// replaceFile puts text into a file in one step, so that a reader finds the old
// one or the new one. The new one is made beside it under a fixed hidden name:
// what a killed run leaves there the next one removes, and collectors, which take
// names that end in .prom, do not see it.
func replaceFile(file string, text []byte) (err error) {
	tmp := filepath.Join(filepath.Dir(file), "."+filepath.Base(file)+".tmp")
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, metricsMode)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp)
		}
	}()
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(metricsMode), f.Sync(), f.Close()) // whatever the umask
	if err != nil {
		return err
	}
	return os.Rename(tmp, file)
}
