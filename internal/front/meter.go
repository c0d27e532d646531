package front

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// meter counts what the metrics tell.
type meter struct {
	mu     sync.Mutex
	counts map[series]float64
}

// series is one counter: its metric and up to two labels.
type series struct{ metric, first, second string }

func newMeter() *meter { return &meter{counts: map[series]float64{}} }

// The metrics, and the names of their labels.
const (
	requestsMetric  = "nbextract_front_requests_total"
	redirectsMetric = "nbextract_front_redirects_total"
	directMetric    = "nbextract_front_direct_total"
	bytesMetric     = "nbextract_front_direct_bytes_total"
	looksMetric     = "nbextract_front_looks_total"
	upMetric        = "nbextract_front_mirror_up"
	blobsMetric     = "nbextract_front_mirror_blobs"
	secondsMetric   = "nbextract_front_mirror_answer_seconds"
	sinceMetric     = "nbextract_front_mirror_state_since_timestamp_seconds"
)

type metric struct {
	name, kind, help string
	labels           [2]string
}

func metrics() []metric {
	return []metric{
		{requestsMetric, "counter", "Requests, by what for and how they ended.", [2]string{"kind", "outcome"}},
		{redirectsMetric, "counter", "Clients sent to a mirror.", [2]string{"mirror"}},
		{directMetric, "counter", "Blobs given by the front itself, by the reason.", [2]string{"reason"}},
		{bytesMetric, "counter", "Bytes of such blobs.", [2]string{}},
		{looksMetric, "counter", "Looks at all blobs of a mirror, by what it was then.", [2]string{"mirror", "outcome"}},
		{upMetric, "gauge", "1 where clients are sent to a mirror.", [2]string{"mirror", "state"}},
		{blobsMetric, "gauge", "Blobs that a mirror has.", [2]string{"mirror"}},
		{secondsMetric, "gauge", "How long a mirror takes to answer.", [2]string{"mirror"}},
		{sinceMetric, "gauge", "Since when a mirror is what it is.", [2]string{"mirror"}},
	}
}

func (m *meter) add(s series, n float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts[s] += n
}

func (m *meter) request(kind, outcome string) {
	m.add(series{requestsMetric, cmp.Or(kind, "other"), outcome}, 1)
}
func (m *meter) sent(mirror string)            { m.add(series{redirectsMetric, mirror, ""}, 1) }
func (m *meter) direct(why string)             { m.add(series{directMetric, why, ""}, 1) }
func (m *meter) bytes(n int64)                 { m.add(series{bytesMetric, "", ""}, float64(n)) }
func (m *meter) looked(mirror, outcome string) { m.add(series{looksMetric, mirror, outcome}, 1) }

// write gives everything in the text format of Prometheus.
func (m *meter) write(w io.Writer, mirrors []Status) error {
	all := map[series]float64{}
	for _, s := range mirrors {
		up := 0.0
		if s.State == stateUp {
			up = 1
		}
		all[series{upMetric, s.Name, s.State}] = up
		all[series{blobsMetric, s.Name, ""}] = float64(s.Blobs)
		all[series{secondsMetric, s.Name, ""}] = s.Seconds
		if !s.Since.IsZero() {
			all[series{sinceMetric, s.Name, ""}] = float64(s.Since.Unix())
		}
	}
	m.mu.Lock()
	for s, n := range m.counts {
		all[s] = n
	}
	m.mu.Unlock()
	var b strings.Builder
	for _, of := range metrics() {
		var lines []string
		for s, n := range all {
			if s.metric == of.name {
				lines = append(lines, fmt.Sprintf("%s%s %g\n", s.metric, labels(of.labels, s), n))
			}
		}
		if len(lines) > 0 {
			slices.Sort(lines)
			fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n%s", of.name, of.help, of.name, of.kind, strings.Join(lines, ""))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// labels writes those that a metric has. Their values are words of the program or
// names that the configuration was checked for.
func labels(names [2]string, s series) string {
	var pairs []string
	for i, value := range []string{s.first, s.second} {
		if names[i] != "" {
			pairs = append(pairs, fmt.Sprintf("%s=%q", names[i], value))
		}
	}
	if pairs == nil {
		return ""
	}
	return "{" + strings.Join(pairs, ",") + "}"
}

// metered counts the bytes of an answer, and lets the kernel send files.
type metered struct {
	http.ResponseWriter
	meter *meter
}

// Unwrap is for http.ResponseController.
func (m *metered) Unwrap() http.ResponseWriter { return m.ResponseWriter }

// Write implements io.Writer.
func (m *metered) Write(p []byte) (int, error) {
	n, err := m.ResponseWriter.Write(p)
	m.meter.bytes(int64(n))
	return n, err
}

// ReadFrom implements io.ReaderFrom.
func (m *metered) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(m.ResponseWriter, r)
	m.meter.bytes(n)
	return n, err
}
