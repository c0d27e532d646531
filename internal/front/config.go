package front

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nbpack/nbpack/internal/config"
	"github.com/nbpack/nbpack/internal/transport/blobmirror"
)

// Defaults of a [Config].
const (
	defaultListen  = ":5000"
	defaultWeight  = 100
	maxWeight      = 10_000
	defaultEvery   = 5 * time.Minute
	defaultProbe   = 15 * time.Second
	defaultTimeout = 5 * time.Second
	defaultLag     = 24 * time.Hour
	defaultSamples = 8
	maxSamples     = 1000
	minInterval    = 50 * time.Millisecond
	maxMirrors     = 1000
)

// Config is the file that a front is run with. docs/mirrorlist.md describes it.
type Config struct {
	config.Place
	// Listen and Metrics are ADDRESS:PORT; no Metrics: none are given.
	Listen  string `yaml:"listen"`
	Metrics string `yaml:"metrics"`
	// TLSCert and TLSKey are files with the certificate chain and key of the front;
	// neither: plain HTTP.
	TLSCert string `yaml:"tls-cert"`
	TLSKey  string `yaml:"tls-key"`
	// TrustedProxies are networks whose X-Forwarded-For is believed.
	TrustedProxies []Network `yaml:"trusted-proxies"`
	Crawl          Crawl     `yaml:"crawl"`
	Mirrors        []Mirror  `yaml:"mirrors"`
}

// Crawl says how mirrors are looked after.
type Crawl struct {
	// Every is the time between looks at all blobs of a mirror, Probe between looks
	// at one of them.
	Every Duration `yaml:"every"`
	Probe Duration `yaml:"probe"`
	// Timeout bounds each question; a mirror that needs longer is too slow.
	Timeout Duration `yaml:"timeout"`
	// Samples is how many blobs are compared with the tree in each look.
	Samples *int `yaml:"samples"`
	// Lag is how long a mirror may lack a blob that the tree has.
	Lag Duration `yaml:"lag"`
}

// Mirror is one place to send clients to.
type Mirror struct {
	config.Place
	Name     string    `yaml:"name"` // for people; default: the host
	URL      string    `yaml:"url"`  // as blobmirror.Parse has it
	Weight   *int      `yaml:"weight"`
	Networks []Network `yaml:"networks"` // clients that are sent there first
	Private  bool      `yaml:"private"`  // and nobody else
	Partial  bool      `yaml:"partial"`  // has some of the blobs only, by intention

	at blobmirror.Mirror
}

// Network is an IP prefix, or a single address.
type Network struct{ netip.Prefix }

// UnmarshalText reads 192.0.2.0/24, 2001:db8::/32 or 192.0.2.1.
func (n *Network) UnmarshalText(b []byte) error {
	text := string(b)
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		n.Prefix = netip.PrefixFrom(addr, addr.BitLen())
		return nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || p != p.Masked() {
		return fmt.Errorf("want a network such as 192.0.2.0/24, not %q", text)
	}
	n.Prefix = p
	return nil
}

// Duration is a time with its unit, such as 5m.
type Duration time.Duration

// UnmarshalText reads it.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil || v < minInterval {
		return fmt.Errorf("want a time such as 30s or 5m, not %q", b)
	}
	*d = Duration(v)
	return nil
}

// ReadConfig reads and checks a file. Errors are of type [config.Errors] (exit code
// 2), with lines, or tell that the file cannot be read.
func ReadConfig(file string) (*Config, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, config.MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	return ParseConfig(file, b)
}

// ParseConfig is ReadConfig for bytes; file is the name for messages.
func ParseConfig(file string, b []byte) (*Config, error) {
	c := &Config{}
	if err := config.Decode(file, b, c); err != nil {
		return nil, err
	}
	c.complete()
	return c, c.check().Err()
}

// complete puts the defaults in.
func (c *Config) complete() {
	if c.Listen == "" {
		c.Listen = defaultListen
	}
	for d, otherwise := range map[*Duration]time.Duration{
		&c.Crawl.Every: defaultEvery, &c.Crawl.Probe: defaultProbe, &c.Crawl.Timeout: defaultTimeout, &c.Crawl.Lag: defaultLag,
	} {
		if *d == 0 {
			*d = Duration(otherwise)
		}
	}
	if c.Crawl.Samples == nil {
		n := defaultSamples
		c.Crawl.Samples = &n
	}
	for i := range c.Mirrors {
		if m := &c.Mirrors[i]; m.Weight == nil {
			n := defaultWeight
			m.Weight = &n
		}
	}
}

// CheckAddress refuses what is no [ADDRESS]:PORT to listen at.
func CheckAddress(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("want ADDRESS:PORT or :PORT, such as 192.0.2.1:5000 or :5000, not %q", s)
	}
	return nil
}

func (c *Config) check() (errs config.Errors) {
	if err := CheckAddress(c.Listen); err != nil {
		errs = append(errs, c.At("listen").Errorf("%v", err))
	}
	if c.Metrics != "" {
		if err := CheckAddress(c.Metrics); err != nil {
			errs = append(errs, c.At("metrics").Errorf("%v", err))
		}
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		errs = append(errs, c.Errorf("tls-cert and tls-key go together"))
	}
	if n := *c.Crawl.Samples; n < 1 || n > maxSamples {
		errs = append(errs, c.At("crawl", "samples").Errorf("want a number from 1 to %d, not %d", maxSamples, n))
	}
	switch n := len(c.Mirrors); {
	case n == 0:
		errs = append(errs, c.At("mirrors").Errorf("a front has at least one mirror"))
	case n > maxMirrors:
		errs = append(errs, c.At("mirrors").Errorf("%d mirrors are more than %d", n, maxMirrors))
		return errs
	}
	names, urls := map[string]int{}, map[blobmirror.Mirror]int{}
	for i := range c.Mirrors {
		m := &c.Mirrors[i]
		errs = append(errs, m.check()...)
		if m.at == (blobmirror.Mirror{}) {
			continue
		}
		if line, twice := urls[m.at]; twice {
			errs = append(errs, m.At("url").Errorf("the mirror is in the list already, in line %d", line))
			continue
		}
		if line, twice := names[m.Name]; twice {
			errs = append(errs, m.Errorf("another mirror has the name %q, in line %d", m.Name, line))
		}
		urls[m.at], names[m.Name] = m.Line(), m.Line()
	}
	return errs
}

func (m *Mirror) check() (errs config.Errors) {
	at, err := blobmirror.Parse(m.URL)
	if err != nil {
		return append(errs, m.At("url").Errorf("%v", err))
	}
	m.at = at
	if m.Name == "" {
		m.Name = at.Host()
	}
	if strings.ContainsFunc(m.Name, func(r rune) bool { return r <= ' ' || r >= 0x7f }) || len(m.Name) > 100 {
		errs = append(errs, m.At("name").Errorf("want a short word, not %q", m.Name))
	}
	if *m.Weight < 1 || *m.Weight > maxWeight {
		errs = append(errs, m.At("weight").Errorf("want a number from 1 to %d, not %d", maxWeight, *m.Weight))
	}
	if m.Private && len(m.Networks) == 0 {
		errs = append(errs, m.At("private").Errorf("is for nobody without networks"))
	}
	return errs
}
