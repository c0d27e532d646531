package front

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
)

// blobsLine is where the configuration of a plain tree gives a blob.
const blobsLine = "        try_files /blobs/$mirror_algorithm/$mirror_hex =404;\n"

// listenLine is where it says at which address nginx listens.
const listenLine = "    listen 80;\n"

// sendLines go before it.
const sendLines = `        # To a mirror, if one is chosen for this client.
        if (!-f $document_root/blobs/$mirror_algorithm/$mirror_hex) {
            return 404;
        }
        if ($front_url) {
            return 307 $front_url;
        }
`

// keyLength is how much of a digest stands in the list of blobs, and lineKeys how many
// of them stand in one expression: nginx reads words of at most 4 KiB. A map of
// words instead would not fit into the hash tables of nginx as it is set up by
// default, which cannot be changed from a file that is one of several.
const keyLength, lineKeys = 16, 200

// unwritable are the characters that mean something to nginx.
const unwritable = "\"'$\\{}; \n"

// Nginx turns the configuration with which nginx serves a tree as it is into one
// that sends clients to the mirrors of c, by their network and weight. nginx looks at no
// mirror. So with found only the mirrors that were well then are in it, and what
// all of these had; nil: all are trusted to be well and to have everything.
func Nginx(plain string, c *Config, found *Checked) (string, error) {
	if strings.Count(plain, blobsLine) != 1 || strings.Count(plain, listenLine) != 1 {
		return "", fmt.Errorf("the configuration of a mirror for nginx has no place for blobs, or for the address") // a mistake of ours
	}
	listen, err := listenLines(c)
	if err != nil {
		return "", err
	}
	n := &nginx{mirrors: c.Mirrors}
	if found != nil {
		n.mirrors = nil
		for _, m := range found.up {
			n.mirrors = append(n.mirrors, m.Mirror)
		}
	}
	for _, m := range n.mirrors {
		if strings.ContainsAny(m.at.String(), unwritable) {
			return "", m.At("url").Errorf("%q cannot be written into the configuration of nginx", m.URL)
		}
	}
	n.choices(c.TrustedProxies)
	n.filter(found)
	n.urls()
	plain = strings.Replace(plain, listenLine, listen, 1)
	return n.b.String() + "\n" + strings.Replace(plain, blobsLine, sendLines+blobsLine, 1), nil
}

// listenLines has nginx listen where the front would, with its certificate.
func listenLines(c *Config) (string, error) {
	at := strings.TrimPrefix(c.Listen, ":")
	if c.TLSCert == "" {
		return "    listen " + at + ";\n", nil
	}
	lines := "    listen " + at + " ssl;\n"
	for _, use := range [][2]string{{"ssl_certificate", c.TLSCert}, {"ssl_certificate_key", c.TLSKey}} {
		file, err := filepath.Abs(use[1])
		if err != nil {
			return "", err
		}
		if strings.ContainsAny(file, unwritable) {
			return "", c.Errorf("%q cannot be written into the configuration of nginx", file)
		}
		lines += fmt.Sprintf("    %s \"%s\";\n", use[0], file)
	}
	return lines, nil
}

// nginx writes the part of the configuration that chooses a mirror.
type nginx struct {
	b       strings.Builder
	mirrors []Mirror
}

func (n *nginx) line(format string, a ...any) { fmt.Fprintf(&n.b, format+"\n", a...) }

// choices writes which mirrors are near a client, and the lot that decides among
// them. A second try draws again.
func (n *nginx) choices(proxies []Network) {
	n.line("# nginx: clients get blobs from a mirror near them.")
	groups := map[netip.Prefix][]int{}
	var order []netip.Prefix
	var any []int
	for i, m := range n.mirrors {
		for _, p := range m.Networks {
			if groups[p.Prefix] == nil {
				order = append(order, p.Prefix)
			}
			groups[p.Prefix] = append(groups[p.Prefix], i)
		}
		if !m.Private {
			any = append(any, i)
		}
	}
	n.line("geo $front_near {\n    default any;")
	for _, p := range proxies {
		n.line("    proxy %s;", p)
	}
	if len(proxies) > 0 {
		n.line("    proxy_recursive;")
	}
	for i, p := range order {
		n.line("    %s near%d;", p, i)
	}
	n.line("}")
	n.lot("any", any)
	for i, p := range order {
		n.lot(fmt.Sprintf("near%d", i), groups[p])
	}
	n.line("map $front_near $front_lot {\n    default $front_any;")
	for i := range order {
		n.line("    near%d $front_near%d;", i, i)
	}
	n.line("}")
}

// lot draws one of some mirrors by their weights.
func (n *nginx) lot(name string, of []int) {
	total := 0
	for _, i := range of {
		total += *n.mirrors[i].Weight
	}
	n.line("split_clients $request_id $front_%s {", name)
	left := 10_000 // hundredths of a per cent
	for k, i := range of {
		share := max(*n.mirrors[i].Weight*10_000/total, 1)
		if k == len(of)-1 || share >= left {
			n.line("    * mirror%d;", i)
			break
		}
		left -= share
		n.line("    %d.%02d%% mirror%d;", share/100, share%100, i)
	}
	if len(of) == 0 {
		n.line("    * none;")
	}
	n.line("}")
}

// filter leaves to the front what no mirror is to be asked for.
func (n *nginx) filter(found *Checked) {
	n.line("# HEAD is answered here, and so is who wants no copy.")
	n.line("map \"$request_method $http_cache_control\" $front_wanted {\n    default $front_lot;\n    \"~^HEAD \" none;\n    \"~*no-cache\" none;\n}")
	if found == nil {
		n.line("map $uri $front_chosen {\n    default $front_wanted;\n}")
		return
	}
	n.line("# What all these mirrors had when this was written.")
	n.line("map $uri $front_key {\n    default \"\";\n    \"~:(?<front_prefix>[0-9a-f]{%d})\" $front_prefix;\n}", keyLength)
	n.line("map $front_key $front_chosen {\n    default none;")
	for keys := range slices.Chunk(found.everywhere(), lineKeys) {
		n.line("    \"~^(?:%s)$\" $front_wanted;", strings.Join(keys, "|"))
	}
	n.line("}")
}

// everywhere lists the blobs that all mirrors had that were well.
func (c *Checked) everywhere() []string {
	var keys []string
	for _, b := range c.blobs {
		if len(c.up) > 0 && !slices.ContainsFunc(c.up, func(m *mirror) bool { return !m.has[b.digest] }) {
			keys = append(keys, b.digest.Encoded()[:keyLength])
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// urls writes where each mirror has a blob.
func (n *nginx) urls() {
	n.line("map $front_chosen $front_url {\n    default \"\";")
	for i, m := range n.mirrors {
		n.line("    mirror%d \"%s\"; # %s", i, m.at.BlobTemplate("$uri", "$mirror_algorithm/$mirror_hex"), m.Name)
	}
	n.line("}")
}
