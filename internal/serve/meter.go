package serve

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// How a transfer can end.
const (
	complete = "complete"
	missing  = "not_found"
	aborted  = "aborted" // by the client, or because the server stops
	failed   = "failed"
)

// meter counts what the metrics tell. Its keys are label pairs as they are written.
type meter struct {
	mu     sync.Mutex
	values map[string]map[string]float64 // by metric and labels
}

func newMeter() *meter { return &meter{values: map[string]map[string]float64{}} }

func (m *meter) add(metric string, n float64, labels ...string) {
	key := labelText(labels)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.values[metric] == nil {
		m.values[metric] = map[string]float64{}
	}
	m.values[metric][key] += n
}

func (m *meter) begin(proto string) { m.add(activeMetric, 1, "protocol", proto) }
func (m *meter) end(proto string)   { m.add(activeMetric, -1, "protocol", proto) }

func (m *meter) bytes(proto string, n int64) { m.add(bytesMetric, float64(n), "protocol", proto) }

func (m *meter) done(proto, outcome string, n int64) {
	m.add(transfersMetric, 1, "protocol", proto, "outcome", outcome)
	if n > 0 {
		m.bytes(proto, n)
	}
}

func (m *meter) refused(proto, why string) {
	m.add(refusedMetric, 1, "protocol", proto, "reason", why)
}

func (m *meter) refreshed(err error, at time.Time) {
	outcome := "complete"
	if err != nil {
		outcome = "failed"
	}
	m.add(refreshMetric, 1, "outcome", outcome)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		m.values[refreshedMetric] = map[string]float64{"": float64(at.Unix())}
	}
}

// The names of what is counted.
const (
	transfersMetric = "nbextract_serve_transfers_total"
	bytesMetric     = "nbextract_serve_sent_bytes_total"
	activeMetric    = "nbextract_serve_transfers_active"
	refusedMetric   = "nbextract_serve_refused_total"
	refreshMetric   = "nbextract_serve_syncs_total"
	refreshedMetric = "nbextract_serve_sync_success_timestamp_seconds"
	pinsMetric      = "nbextract_serve_pins"
	keptMetric      = "nbextract_serve_pinned_generations"
	pinsEndedMetric = "nbextract_serve_pins_ended_early_total"
	treeMetric      = "nbextract_serve_tree_installed_timestamp_seconds"
	connsMetric     = "nbextract_serve_open"
)

// metrics lists them with their types and what they mean.
func metrics() [][3]string {
	return [][3]string{
		{transfersMetric, "counter", "Requests for files that ended, by how."},
		{bytesMetric, "counter", "Bytes of files that clients have received."},
		{activeMetric, "gauge", "Files being sent now."},
		{connsMetric, "gauge", "TFTP transfers and HTTP connections that are open."},
		{refusedMetric, "counter", "Clients turned away, by the reason."},
		{pinsMetric, "gauge", "Clients and trees with a generation chosen."},
		{keptMetric, "gauge", "Generations that such clients need."},
		{pinsEndedMetric, "counter", "Choices that ended before their time, by the reason."},
		{treeMetric, "gauge", "When the live generation of a tree was installed."},
		{refreshMetric, "counter", "Runs of sync, by how they ended."},
		{refreshedMetric, "gauge", "When sync last succeeded."},
	}
}

// write gives everything in the text format of Prometheus. More are values that
// are looked up, not counted.
func (m *meter) write(w io.Writer, more map[string]map[string]float64) error {
	m.mu.Lock()
	all := map[string]map[string]float64{}
	for name, v := range m.values {
		all[name] = maps.Clone(v)
	}
	m.mu.Unlock()
	maps.Copy(all, more)
	var b strings.Builder
	for _, f := range metrics() {
		if len(all[f[0]]) == 0 {
			continue
		}
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", f[0], f[2], f[0], f[1])
		for _, labels := range slices.Sorted(maps.Keys(all[f[0]])) {
			fmt.Fprintf(&b, "%s%s %.0f\n", f[0], labels, all[f[0]][labels])
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// labelText writes names and values in turn.
func labelText(pairs []string) string {
	if len(pairs) == 0 {
		return ""
	}
	var b strings.Builder
	sep := "{"
	for i := 0; i < len(pairs); i += 2 {
		value := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(strings.ToValidUTF8(pairs[i+1], "\uFFFD"))
		fmt.Fprintf(&b, `%s%s="%s"`, sep, pairs[i], value)
		sep = ","
	}
	return b.String() + "}"
}
