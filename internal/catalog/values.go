package catalog

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Duration is a span of time as people write it: 36h, 90m, and with days and
// weeks (14d, 2w), which Go's own form lacks.
type Duration time.Duration

// UnmarshalText reads a duration; it must be longer than nothing.
func (d *Duration) UnmarshalText(b []byte) error {
	s := string(b)
	unit := time.Duration(0)
	switch {
	case strings.HasSuffix(s, "d"):
		unit = 24 * time.Hour
	case strings.HasSuffix(s, "w"):
		unit = 7 * 24 * time.Hour
	}
	v, err := time.ParseDuration(s)
	if unit > 0 {
		var n int
		n, err = strconv.Atoi(s[:len(s)-1])
		if n > 36500 {
			n = 0
		}
		v = time.Duration(n) * unit
	}
	if err != nil || v <= 0 {
		return fmt.Errorf("want a time such as 36h, 14d or 2w, not %q", s)
	}
	*d = Duration(v)
	return nil
}

// MarshalText gives it as Go writes durations; nothing for none.
func (d Duration) MarshalText() ([]byte, error) {
	if d == 0 {
		return nil, nil
	}
	return []byte(time.Duration(d).String()), nil
}

// Or gives the duration, or another one where there is none.
func (d *Duration) Or(other time.Duration) time.Duration {
	if d == nil {
		return other
	}
	return time.Duration(*d)
}

// Share is a part of a whole, in percent.
type Share int

// UnmarshalText reads "50%".
func (s *Share) UnmarshalText(b []byte) error {
	number, percent := strings.CutSuffix(string(b), "%")
	n, err := strconv.Atoi(number)
	if err != nil || !percent || n < 0 || n > 100 {
		return fmt.Errorf("want a share from 0%% to 100%%, not %q", b)
	}
	*s = Share(n)
	return nil
}

// Or gives the share, or another one where there is none.
func (s *Share) Or(other Share) Share {
	if s == nil {
		return other
	}
	return *s
}
