package history

import (
	"fmt"
	"strings"
)

// A tally is how much there was to judge in a history: a rule that judged nothing
// has shown nothing.
type tally struct {
	judged  map[rule]int   // how often a rule could have been seen to be broken
	excused map[excuse]int // computations without a lease
	orders
}

func newTally() tally { return tally{judged: map[rule]int{}, excused: map[excuse]int{}} }

// add takes in another tally.
func (t *tally) add(other tally) {
	for r, n := range other.judged {
		t.judged[r] += n
	}
	for e, n := range other.excused {
		t.excused[e] += n
	}
	t.orders.add(other.orders)
}

// maxUnknown is the part of the commands for which porcupine may find no answer
// in its time, in a run that is to show something.
const maxUnknown = 0.1

// lacks says what keeps a run from showing that all rules are kept.
func (t *tally) lacks() (lacks []string) {
	for _, r := range rules {
		if t.judged[r] == 0 {
			lacks = append(lacks, fmt.Sprintf("nothing was judged by the rule %q", r))
		}
	}
	if unknown := t.unknownPart(); unknown > maxUnknown {
		lacks = append(lacks, fmt.Sprintf("whether there is an order was not found out for %.0f%% of the commands, more than %.0f%%", 100*unknown, 100*maxUnknown))
	}
	return lacks
}

// String is a table.
func (t *tally) String() string {
	var b strings.Builder
	b.WriteString("judged:\n")
	for _, r := range rules {
		fmt.Fprintf(&b, "%9d  %s\n", t.judged[r], r)
	}
	b.WriteString("computations without a lease, and why:\n")
	for _, e := range excuses {
		fmt.Fprintf(&b, "%9d  %s\n", t.excused[e], e)
	}
	fmt.Fprintf(&b, "commands in pieces of a history: %d with an order, %d not found out (%.1f%%)",
		t.ordered, t.unknown, 100*t.unknownPart())
	return b.String()
}
