package transport

import (
	"net/http"
	"strings"
)

// challenge is one way in that a WWW-Authenticate header offers.
type challenge struct {
	scheme string // lower case
	params map[string]string
}

// pickChallenge reads the headers of a 401 and takes bearer before basic, as
// the clients of registries do.
func pickChallenge(h http.Header) (challenge, bool) {
	var basic *challenge
	for _, v := range h.Values("WWW-Authenticate") {
		for _, c := range parseChallenges(v) {
			switch c.scheme {
			case "bearer":
				return c, true
			case "basic":
				if basic == nil {
					basic = &c
				}
			}
		}
	}
	if basic != nil {
		return *basic, true
	}
	return challenge{}, false
}

// parseChallenges reads one header value (RFC 9110, section 11.6.1): schemes,
// each with parameters, all separated by commas. What it cannot read it ends at.
func parseChallenges(s string) []challenge {
	var out []challenge
	for {
		s = strings.TrimLeft(s, " \t,")
		word, rest := cutToken(s)
		if word == "" {
			return out
		}
		rest = strings.TrimLeft(rest, " \t")
		if len(out) > 0 && strings.HasPrefix(rest, "=") {
			value, after, ok := cutValue(strings.TrimLeft(rest[1:], " \t"))
			if !ok {
				return out
			}
			out[len(out)-1].params[strings.ToLower(word)] = value
			s = after
			continue
		}
		out = append(out, challenge{scheme: strings.ToLower(word), params: map[string]string{}})
		s = rest
	}
}

func cutToken(s string) (token, rest string) {
	i := strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r))
	})
	if i < 0 {
		return s, ""
	}
	return s[:i], s[i:]
}

// cutValue reads a token or a quoted string.
func cutValue(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		value, rest = cutToken(s)
		return value, rest, value != ""
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			i++
			if i == len(s) {
				return "", "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}
