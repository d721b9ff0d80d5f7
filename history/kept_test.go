package history

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// keepTale writes a tale as its processes would have recorded it.
func keepTale(t *testing.T, p plan, h *tale) (dir string) {
	t.Helper()
	dir = t.TempDir()
	require.NoError(t, keepPlan(dir, p))
	for _, e := range h.events {
		line, err := json.Marshal(e)
		require.NoError(t, err)
		file, err := os.OpenFile(filepath.Join(dir, recordName(e.Proc)), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		require.NoError(t, err)
		_, err = fmt.Fprintf(file, "%s\n", line)
		require.NoError(t, err)
		require.NoError(t, file.Close())
	}
	return dir
}

func TestRecordsThatWereKeptAreJudgedAsWhenTheyWereMade(t *testing.T) {
	for name, more := range map[string]func(*tale){
		"good":           func(h *tale) { h.read(2, 30, "fresh") },
		"breaks a rule":  func(h *tale) { h.invalidate(1, 40); h.read(2, 30, "fresh") },
		"has no order":   func(h *tale) { h.read(2, 30, "fresh"); h.get(2, 40, 0) },
		"with an excuse": func(h *tale) { h.call(2, 30); h.computeAlone(2, 60, 30, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			h := stored()
			more(h)
			p := handPlan()
			p.Faults, p.Faulty = faults, time.Second
			made := judge(p, h.events, "")
			made.order()

			kept, events, err := readRound(keepTale(t, p, h))
			require.NoError(t, err)
			assert.Equal(t, p, kept)
			again := judge(kept, events, "")
			again.order()
			assert.Equal(t, made.broken, again.broken)
			assert.Equal(t, made.tally, again.tally)
			assert.Equal(t, name == "good" || name == "with an excuse", len(again.broken) == 0, "%v", again.broken)
		})
	}
}

func TestADirectoryWithoutARoundIsNotChecked(t *testing.T) {
	_, _, err := readRound(t.TempDir())
	require.ErrorContains(t, err, "no round is kept in")

	dir := t.TempDir()
	require.NoError(t, keepPlan(dir, handPlan()))
	_, _, err = readRound(dir)
	assert.ErrorContains(t, err, "no events are kept in")
}
