package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestABusyEntryIsNeverStaleAndComputedOncePerFreshness is the aim of Options.Early, for an entry
// that is requested 100 times during its computation.
func TestABusyEntryIsNeverStaleAndComputedOncePerFreshness(t *testing.T) {
	for _, load := range []float64{100, 300, 1000} {
		with := simulate(load, 1, 1000*freshness)
		if with.stale > 0 {
			t.Errorf("load %v: %d stale answers", load, with.stale)
		}
		if n := with.perFreshness(); n < 1 || n > 1.1 {
			t.Errorf("load %v: computed %.3f times per Freshness", load, n)
		}
		without := simulate(load, 0, 1000*freshness)
		if share := without.staleShare(); share < 0.5 || share > 1.5 {
			t.Errorf("load %v: without it %.2f %% are stale", load, share)
		}
	}
}

// TestARareEntryIsNotRefreshedForNothing: an entry that is requested once in 10 Freshnesses is
// computed about as often as it is requested, with Early and without.
func TestARareEntryIsNotRefreshedForNothing(t *testing.T) {
	const load = 0.001
	with, without := simulate(load, 1, 100_000*freshness), simulate(load, 0, 100_000*freshness)
	if a, b := with.perFreshness(), without.perFreshness(); a > 1.1*b {
		t.Errorf("computed %.4f times per Freshness with, and %.4f without", a, b)
	}
}

func TestTheTableAndThePlotAreWritten(t *testing.T) {
	dir := t.TempDir()
	var out bytes.Buffer
	if err := run([]string{"-out", dir}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "\n| "); n != len(loads)*len(betas)+2 {
		t.Errorf("%d rows\n%s", n, &out)
	}
	if svg, err := os.ReadFile(filepath.Join(dir, "early.svg")); err != nil || !bytes.Contains(svg, []byte("</svg>")) {
		t.Error("no plot", err)
	}
	if err := run([]string{"surplus"}, io.Discard, io.Discard); err == nil {
		t.Error("an argument is accepted")
	}
}
