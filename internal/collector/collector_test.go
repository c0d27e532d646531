package collector

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
)

func collectorPercent() uint64 {
	s := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// TestDelay: only the first collection waits.
func TestDelay(t *testing.T) {
	for os.Getenv("GOGC") == "" && collectorPercent() == 400 { // that of init
		runtime.GC()
	}
	t.Setenv("GOGC", "")
	before := debug.SetGCPercent(90)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	delay()
	if got := collectorPercent(); got != 400 {
		t.Fatalf("GOGC is %d until the first collection", got)
	}
	for collectorPercent() == 400 {
		runtime.GC()
	}
	if got := collectorPercent(); got != 90 {
		t.Errorf("GOGC is %d after it", got)
	}
}

func TestDelayIsTheUsers(t *testing.T) {
	t.Setenv("GOGC", "75")
	before := collectorPercent()
	delay()
	if got := collectorPercent(); got != before {
		t.Errorf("GOGC is %d, was %d", got, before)
	}
}
