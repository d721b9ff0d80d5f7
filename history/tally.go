package history

import (
	"fmt"
	"strings"
)

// A tally counts what there was to judge in a history. A rule that judged nothing has shown
// nothing.
type tally struct {
	judged   map[rule]int   // how often each rule had something to judge
	excused  map[excuse]int // computations without a lease
	elements int            // answers of elements of batches that were judged
	orders
}

func newTally() tally { return tally{judged: map[rule]int{}, excused: map[excuse]int{}} }

// add adds another tally.
func (t *tally) add(other tally) {
	for r, n := range other.judged {
		t.judged[r] += n
	}
	for e, n := range other.excused {
		t.excused[e] += n
	}
	t.elements += other.elements
	t.orders.add(other.orders)
}

// maxUnknown is the greatest share of commands for which porcupine may find no answer in its
// time.
const maxUnknown = 0.1

// lacks returns the reasons why a run does not show that all rules hold.
func (t *tally) lacks() (lacks []string) {
	for _, r := range rules {
		if t.judged[r] == 0 {
			lacks = append(lacks, fmt.Sprintf("nothing was judged by the rule %q", r))
		}
	}
	if t.elements == 0 {
		lacks = append(lacks, "no element of a batch was judged")
	}
	if unknown := t.unknownPart(); unknown > maxUnknown {
		lacks = append(lacks, fmt.Sprintf("porcupine found no answer for %.0f%% of the commands, more than %.0f%%", 100*unknown, 100*maxUnknown))
	}
	return lacks
}

// String returns a table.
func (t *tally) String() string {
	var b strings.Builder
	b.WriteString("judged:\n")
	for _, r := range rules {
		fmt.Fprintf(&b, "%9d  %s\n", t.judged[r], r)
	}
	fmt.Fprintf(&b, "%9d  of the answers are those of elements of batches\n", t.elements)
	b.WriteString("computations without a lease, and why:\n")
	for _, e := range excuses {
		fmt.Fprintf(&b, "%9d  %s\n", t.excused[e], e)
	}
	fmt.Fprintf(&b, "commands in pieces of a history: %d with an order, %d undecided (%.1f%%)",
		t.ordered, t.unknown, 100*t.unknownPart())
	return b.String()
}
