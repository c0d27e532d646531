package serve

import (
	"net/http"

	"github.com/nbpack/nbpack/internal/drain"
)

// admin serves what the monitoring of a site asks for. It has a listener of its
// own: its paths would hide files of the same name, and what is installed here is
// nobody's business who boots.
func (s *Server) admin(g *drain.Group) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", g.Health(s.health))
	mux.HandleFunc("GET /metrics", s.metrics)
	return &http.Server{Handler: mux, ReadHeaderTimeout: headerTime, WriteTimeout: stallTime, IdleTimeout: idleTime}
}

// health finds nothing wrong as long as machines can boot. That a registry cannot be
// reached does not change it: the trees that are here are served.
func (s *Server) health() error {
	_, err := s.store.view.current()
	if err == nil {
		_, err = s.root.look(".")
	}
	return err
}

func (s *Server) metrics(rw http.ResponseWriter, _ *http.Request) {
	c := s.store.pins.counts()
	more := map[string]map[string]float64{
		pinsMetric: {"": float64(c.pins)},
		keptMetric: {"": float64(c.generations)},
		pinsEndedMetric: {
			labelText([]string{"reason", "gone"}): float64(c.early),
			labelText([]string{"reason", "room"}): float64(c.pushed),
		},
		connsMetric: {},
		treeMetric:  {},
	}
	if s.tftp != nil {
		more[connsMetric][labelText([]string{"protocol", "tftp"})] = float64(s.tftp.limits.count())
	}
	if s.web != nil {
		more[connsMetric][labelText([]string{"protocol", "http"})] = float64(s.web.limits.count())
	}
	trees, _ := s.store.view.current() // healthz tells of errors
	for _, t := range trees {
		labels := labelText([]string{"path", t.live, "digest", t.digest, "platform", t.platform})
		more[treeMetric][labels] = float64(t.installed.Unix())
	}
	rw.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_ = s.meter.write(rw, more) // whoever went away asks again
}
