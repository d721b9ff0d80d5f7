package history

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// ofFence reports whether an event concerns the fence, and no cell.
func ofFence(e event) bool {
	return slices.Contains([]kind{overtakeBegins, fenceBegins, fenceEnds}, e.Kind) ||
		slices.Contains([]string{verbFence, verbReadFence, verbOvertake}, e.Verb)
}

// Tags of the cell of all tales, and one that it only inherits.
const (
	theTag    = "f0:0"
	argTag    = "arg:0"
	otherTag  = "arg:1"
	innerTag  = "f1:0"
	innerComp = 170
	innerCall = 160
)

// theStamp is what the fence gives the first invalidation of a tale.
const theStamp = 1000

// overtake invalidates a tag, or expires it.
func (h *tale) overtake(proc int, op int64, tag string, soft bool) {
	h.overtaking(proc, op, tag, soft)
	h.overtook(op)
}

// overtaking begins to invalidate a tag, and the fence has done it.
func (h *tale) overtaking(proc int, op int64, tag string, soft bool) {
	h.add(event{Kind: overtakeBegins, Proc: proc, Op: op, Tags: []string{tag}, Soft: soft})
	h.add(event{Kind: commandSent, Proc: proc, Op: op + 1, Verb: verbOvertake, Call: op})
	h.add(event{Kind: commandEnds, Op: op + 1, Stamp: theStamp})
}

func (h *tale) overtook(op int64) { h.add(event{Kind: overtakeEnds, Op: op}) }

// expire records a Func.Expire.
func (h *tale) expire(proc int, op int64) {
	h.add(event{Kind: expireBegins, Proc: proc, Op: op, Soft: true})
	h.send(proc, op+1, "expire", "")
	h.reply(op+1, "held", 0)
	h.add(event{Kind: expireEnds, Op: op})
}

// sees is a reading of the fence by a process, and the time to notice what it says.
func (h *tale) sees(proc int, op int64, stamp uint64) {
	h.add(event{Kind: commandSent, Proc: proc, Op: op, Verb: verbFence})
	h.add(event{Kind: commandEnds, Op: op, Epoch: "e", Stamp: stamp})
	h.wait(noticed)
}

// look begins a lookup together with a reading of the fence.
func (h *tale) look(proc int, op int64) {
	h.add(event{Kind: commandSent, Proc: proc, Op: op, Verb: "get", Fenced: true})
}

// readTagged adds a call of a process, its lookup, and the computation as its answer.
func (h *tale) readTagged(proc int, op int64, source string) {
	h.call(proc, op)
	h.look(proc, op+1)
	h.reply(op+1, "", theComp)
	h.answer(op, theComp, source)
}

// goesBack returns the fence to its state after a place.
func (h *tale) goesBack(to uint64) {
	h.add(event{Kind: fenceBegins, Since: to})
	h.add(event{Kind: fenceEnds})
}

func (h *tale) place() uint64 { return uint64(len(h.events)) }

// A tagged is a history of a cell with tags. It begins with stored, and breaks the rule, or none if
// the rule is "".
type tagged struct {
	broken rule
	more   func(*tale)
}

// requireTagged checks which rule each history breaks. nested says that the function calls f1, and was
// given the value of a computation that began before its own.
func requireTagged(t *testing.T, nested bool, tests map[string]tagged) {
	t.Helper()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := &tale{of: map[int64]event{}}
			end := event{Kind: computeEnds, Tags: []string{theTag, argTag}}
			p := handPlan()
			p.Funcs[0].setTags(false)
			if nested {
				p.Funcs[0].Calls = []int{1}
				h.call(2, innerCall)
				h.ask(2, innerCall+1, "i", innerCall)
				h.reply(innerCall+1, "acquired", 0)
				h.compute(2, innerComp, innerCall)
				h.add(event{Kind: computeEnds, Op: innerComp, Tags: []string{innerTag}})
				h.send(2, innerCall+2, "release", "i")
				h.reply(innerCall+2, "held", 0)
				end.Tags, end.Parts = []string{theTag, innerTag}, []int64{innerComp}
			}
			for _, e := range stored().events {
				if e.Kind == computeEnds {
					e.Tags, e.Parts = end.Tags, end.Parts
				}
				h.add(e)
			}
			test.more(h)
			broken, done := check(&p, h.events)
			var found []rule
			for _, v := range broken {
				found = append(found, v.rule)
				assert.NotEmpty(t, v.events)
			}
			if test.broken == "" {
				assert.Empty(t, broken)
				return
			}
			assert.Contains(t, found, test.broken)
			assert.Positive(t, done.judged[test.broken])
		})
	}
}

func TestNoAnswerIsOlderThanAnInvalidationOfATag(t *testing.T) {
	requireTagged(t, false, map[string]tagged{
		"looked up after it":        {ruleTags, func(h *tale) { h.overtake(1, 50, argTag, false); h.readTagged(2, 30, "fresh") }},
		"looked up after it, stale": {ruleTags, func(h *tale) { h.overtake(1, 50, argTag, false); h.readTagged(2, 30, "stale") }},
		"given back by acquire after it": {ruleTags, func(h *tale) {
			h.call(2, 30)
			h.look(2, 31)
			h.reply(31, "", 0)
			h.overtake(1, 50, argTag, false)
			h.ask(2, 32, "u", 30)
			h.reply(32, "changed", theComp)
			h.answer(30, theComp, "waited")
		}},
		"a call after its end in its process, on the lookup of an earlier call": {ruleTags, func(h *tale) {
			h.call(2, 30)
			h.look(2, 31)
			h.overtake(2, 50, argTag, false)
			h.call(2, 40)
			h.reply(31, "", theComp)
			h.answer(30, theComp, "fresh")
			h.answer(40, theComp, "fresh")
		}},
		"another tag": {"", func(h *tale) { h.overtake(1, 50, otherTag, false); h.readTagged(2, 30, "fresh") }},
		"looked up before its end": {"", func(h *tale) {
			h.call(2, 30)
			h.look(2, 31)
			h.overtake(1, 50, argTag, false)
			h.reply(31, "", theComp)
			h.answer(30, theComp, "fresh")
		}},
		"the fence was read earlier, and nobody knows when": {"", func(h *tale) {
			h.overtake(1, 50, argTag, false)
			h.read(2, 30, "fresh")
		}},
		"it failed": {"", func(h *tale) {
			h.overtaking(1, 50, argTag, false)
			h.add(event{Kind: overtakeEnds, Op: 50, Err: "down"})
			h.readTagged(2, 30, "fresh")
		}},
		"it failed, and not because of Redis": {ruleError, func(h *tale) {
			h.overtaking(1, 50, argTag, false)
			h.add(event{Kind: overtakeEnds, Op: 50, Err: "unexpected: no"})
			h.readTagged(2, 30, "fresh")
			h.add(event{Kind: callBegins, Proc: 2, Op: 90})
		}},
	})
}

func TestALeaseIsGrantedOverAnEntryThatAnInvalidationOfATagHasOvertaken(t *testing.T) {
	requireTagged(t, false, map[string]tagged{
		"an entry that it has overtaken": {"", func(h *tale) {
			h.overtake(1, 50, argTag, false)
			h.ask(2, 30, "u", 0)
			h.reply(30, "acquired", 0)
		}},
		"an entry that counts": {ruleRecomputed, func(h *tale) {
			h.overtake(1, 50, otherTag, false)
			h.ask(2, 30, "u", 0)
			h.reply(30, "acquired", 0)
		}},
		"a later entry, with a tag of its own that was invalidated": {"", func(h *tale) {
			h.call(1, 65)
			h.add(event{Kind: commandSent, Proc: 1, Op: 61, Verb: "acquire", Token: "w", Millis: lease.Milliseconds(), Mode: modeRefresh, Call: 65})
			h.reply(61, "acquired", 0)
			h.compute(1, 66, 65)
			h.add(event{Kind: computeEnds, Op: 66, Tags: []string{theTag, otherTag}})
			h.put(1, 62, "w", 66)
			h.reply(62, "held", 0)
			h.overtake(1, 50, otherTag, false)
			h.ask(2, 30, "u", 0)
			h.reply(30, "acquired", 0)
		}},
		"an entry of a fence that was lost": {"", func(h *tale) {
			h.goesBack(0)
			h.ask(2, 30, "u", 0)
			h.reply(30, "acquired", 0)
		}},
	})
}

func TestNoAnswerIsMadeOfWhatIsOlderThanAnInvalidation(t *testing.T) {
	requireTagged(t, true, map[string]tagged{
		"after what it called ran":       {ruleInherited, func(h *tale) { h.overtake(1, 50, innerTag, false); h.readTagged(2, 30, "fresh") }},
		"its own tag":                    {ruleTags, func(h *tale) { h.overtake(1, 50, theTag, false); h.readTagged(2, 30, "fresh") }},
		"a tag that it does not inherit": {"", func(h *tale) { h.overtake(1, 50, argTag, false); h.readTagged(2, 30, "fresh") }},
	})
}

func TestWhatIsStoredIsAsOldAsWhatItWasMadeOf(t *testing.T) {
	for name, tag := range map[string]string{"of the part": innerTag, "of the whole": theTag} {
		h := &tale{of: map[int64]event{}}
		h.compute(2, innerComp, 0)
		h.add(event{Kind: computeEnds, Op: innerComp, Tags: []string{innerTag}})
		h.overtake(1, 150, tag, false)
		for _, e := range stored().events {
			if e.Kind == computeEnds {
				e.Tags, e.Parts = []string{theTag, innerTag}, []int64{innerComp}
			}
			h.add(e)
		}
		h.readTagged(2, 30, "fresh")
		p := handPlan()
		p.Funcs[0].setTags(false)
		p.Funcs[0].Calls = []int{1}
		broken, _ := check(&p, h.events)
		outdated := slices.ContainsFunc(broken, func(v violation) bool { return v.rule == ruleInherited })
		assert.Equal(t, tag == innerTag, outdated, "an invalidation %s before the whole was computed: %v", name, broken)
	}
}

func TestNoFreshAnswerIsOlderThanAnExpiry(t *testing.T) {
	requireTagged(t, false, map[string]tagged{
		"of a tag":                           {ruleExpired, func(h *tale) { h.overtake(1, 50, argTag, true); h.readTagged(2, 30, "fresh") }},
		"of a tag, given as stale":           {"", func(h *tale) { h.overtake(1, 50, argTag, true); h.readTagged(2, 30, "stale") }},
		"of the entry":                       {ruleExpired, func(h *tale) { h.expire(1, 50); h.readTagged(2, 30, "fresh") }},
		"of the entry, given as stale":       {"", func(h *tale) { h.expire(1, 50); h.readTagged(2, 30, "stale") }},
		"of the entry, the fence read apart": {ruleExpired, func(h *tale) { h.expire(1, 50); h.read(2, 30, "fresh") }},
		"in its process": {ruleExpired, func(h *tale) {
			h.call(2, 30)
			h.look(2, 31)
			h.overtake(2, 50, argTag, true)
			h.call(2, 40)
			h.reply(31, "", theComp)
			h.answer(30, theComp, "fresh")
			h.answer(40, theComp, "fresh")
		}},
	})
}

// joins begins a computation under a lease, and a call of the same process after another one has
// overtaken a tag of it. The call is given its value.
func joins(h *tale, before, soft bool, source string) {
	h.wait(timeout)
	h.call(2, 40)
	h.ask(2, 41, "u", 40)
	h.reply(41, "acquired", 0)
	if before {
		h.call(2, 30)
	}
	h.compute(2, 60, 40)
	h.overtake(1, 50, argTag, soft)
	if !before {
		h.call(2, 30)
	}
	h.add(event{Kind: computeEnds, Op: 60, Tags: []string{theTag, argTag}})
	h.put(2, 42, "u", 60)
	h.reply(42, "held", 0)
	v := value{Comp: 60}
	h.add(event{Kind: callEnds, Op: 30, Value: v, Source: source, Text: writeValue("f0(0)", v)})
}

func TestACallThatJoinsIsGivenNothingThatATagHasOvertaken(t *testing.T) {
	requireTagged(t, false, map[string]tagged{
		"after it":                           {ruleTagsJoined, func(h *tale) { joins(h, false, false, "waited") }},
		"after it, given as stale":           {ruleTagsJoined, func(h *tale) { joins(h, false, false, "stale") }},
		"before the function began":          {"", func(h *tale) { joins(h, true, false, "waited") }},
		"after an expiry, given as fresh":    {ruleExpired, func(h *tale) { joins(h, false, true, "waited") }},
		"after an expiry, given as stale":    {"", func(h *tale) { joins(h, false, true, "stale") }},
		"before the function and its expiry": {"", func(h *tale) { joins(h, true, true, "waited") }},
	})
}

func TestNoAnswerFromMemoryIsOlderThanAnInvalidationOfATagLongAgo(t *testing.T) {
	kept := func(wait time.Duration, soft bool) func(*tale) {
		return func(h *tale) {
			h.readTagged(2, 30, "fresh")
			h.overtake(1, 50, argTag, soft)
			h.wait(wait)
			h.call(2, 40)
			h.answer(40, theComp, "near")
		}
	}
	requireTagged(t, false, map[string]tagged{
		"hard, long ago": {ruleTagsNear, kept(nearLag, false)},
		"soft, long ago": {ruleTagsNear, kept(nearLag, true)},
		"a moment ago":   {"", kept(0, false)},
	})
}

func TestAnInvalidationThatAFailoverLostIsPromisedToWhoHasSeenIt(t *testing.T) {
	// lost returns the fence to its state before an invalidation, which process seer has seen.
	lost := func(seer int, hidden bool) func(*tale) {
		return func(h *tale) {
			before := h.place()
			h.overtake(1, 50, argTag, false)
			h.sees(seer, 80, theStamp)
			h.goesBack(before)
			if hidden {
				h.overtake(4, 90, otherTag, false)
			}
			h.readTagged(2, 30, "fresh")
		}
	}
	requireTagged(t, false, map[string]tagged{
		"who has seen it":              {ruleTags, lost(2, false)},
		"who has not":                  {"", lost(3, false)},
		"another who has not hides it": {"", lost(2, true)},
		"the fence went back to what came after it": {ruleTags, func(h *tale) {
			h.overtake(1, 50, argTag, false)
			after := h.place()
			h.goesBack(after)
			h.readTagged(2, 30, "fresh")
		}},
		"the fence was lost": {ruleTags, func(h *tale) {
			h.overtake(1, 50, argTag, false)
			h.goesBack(0)
			h.readTagged(2, 30, "fresh")
		}},
	})
}

func TestAComputationWithoutALeaseIsExcusedByAnInvalidationOfTagsThatFailed(t *testing.T) {
	requireExcuses(t, map[string]unleased{
		"it failed": {notAsked, nil, func(h *tale) {
			h.overtaking(2, 80, argTag, false)
			h.add(event{Kind: overtakeEnds, Op: 80, Err: "down"})
			h.call(2, 30)
			h.computeAlone(2, 60, 30, 0)
		}},
		"it succeeded": {"", nil, func(h *tale) {
			h.overtake(2, 80, argTag, false)
			h.call(2, 30)
			h.computeAlone(2, 60, 30, 0)
		}},
		"in another process": {"", nil, func(h *tale) {
			h.overtaking(1, 80, argTag, false)
			h.add(event{Kind: overtakeEnds, Op: 80, Err: "down"})
			h.call(2, 30)
			h.computeAlone(2, 60, 30, 0)
		}},
	})
}
