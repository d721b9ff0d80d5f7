package history

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// This file handles the directory of a round. It has the records and the plan, without which
// they cannot be judged. It is kept if a rule is broken.

const planName = "plan.json"

func keepPlan(dir string, p plan) error {
	text, err := json.MarshalIndent(p, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, planName), append(text, '\n'), 0o600)
}

// readRound reads a round that was kept.
func readRound(dir string) (p plan, events []event, err error) {
	text, err := os.ReadFile(filepath.Join(dir, planName))
	if err != nil {
		return plan{}, nil, fmt.Errorf("history: no round is kept in %s: %w", dir, err)
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return plan{}, nil, fmt.Errorf("history: read %s: %w", filepath.Join(dir, planName), err)
	}
	paths, err := filepath.Glob(filepath.Join(dir, recordName("*")))
	if err != nil {
		return plan{}, nil, err
	}
	if events, err = readEvents(paths); err == nil && len(events) == 0 {
		err = fmt.Errorf("history: no events are kept in %s", dir)
	}
	return p, events, err
}
