package history

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fncache/fncache"
)

// A tale is a history written by hand. Each event is a millisecond later than the one before.
type tale struct {
	events []event
	now    time.Duration
	of     map[int64]event // beginnings, by number
}

func (h *tale) add(e event) {
	h.now += time.Millisecond
	if begun, ended := h.of[e.Op]; ended && e.Op != 0 {
		e.Proc, e.Cell, e.Verb, e.Token = begun.Proc, begun.Cell, begun.Verb, begun.Token
	} else {
		if !ofFence(e) {
			e.Cell = "f0(0)"
		}
		h.of[e.Op] = e
	}
	e.Seq, e.At = uint64(len(h.events)+1), int64(h.now)
	h.events = append(h.events, e)
}

func (h *tale) wait(d time.Duration) { h.now += d }

func (h *tale) call(proc int, op int64) { h.add(event{Kind: callBegins, Proc: proc, Op: op}) }

func (h *tale) answer(op, comp int64, source string) {
	v := value{Comp: comp}
	h.add(event{Kind: callEnds, Op: op, Value: v, Source: source, Text: writeValue("f0(0)", v)})
}

func (h *tale) invalidate(proc int, op int64) {
	h.add(event{Kind: invalidateBegins, Proc: proc, Op: op})
	h.send(proc, op+1, "invalidate", "")
	h.reply(op+1, "held", 0)
	h.add(event{Kind: invalidateEnds, Op: op})
}

func (h *tale) compute(proc int, comp, call int64) {
	h.add(event{Kind: computeBegins, Proc: proc, Op: comp, Call: call, Value: value{Comp: comp}})
}

func (h *tale) computed(comp int64) { h.add(event{Kind: computeEnds, Op: comp}) }

func (h *tale) send(proc int, op int64, verb, token string) {
	h.add(event{Kind: commandSent, Proc: proc, Op: op, Verb: verb, Token: token, Millis: lease.Milliseconds(), Mode: "compare"})
}

// ask sends an acquire for a call.
func (h *tale) ask(proc int, op int64, token string, call int64) {
	h.add(event{Kind: commandSent, Proc: proc, Op: op, Verb: "acquire", Token: token, Millis: lease.Milliseconds(), Mode: "compare", Call: call})
}

// put sends a store.
func (h *tale) put(proc int, op int64, token string, comp int64) {
	h.add(event{Kind: commandSent, Proc: proc, Op: op, Verb: "store", Token: token, Millis: timeout.Milliseconds(), Entry: id(comp), Value: value{Comp: comp}})
}

// reply ends a command; comp is the value in an entry, 0 for none.
func (h *tale) reply(op int64, status string, comp int64) {
	h.add(event{Kind: commandEnds, Op: op, Status: status, Entry: id(comp), Value: value{Comp: comp}})
}

func (h *tale) fail(op int64) { h.add(event{Kind: commandEnds, Op: op, Err: endedUnknown}) }

// handPlan is the plan of all tales.
func handPlan() plan {
	p := newPlan(0, 0)
	p.Faults, p.Funcs[0].Near, p.Down = nil, freshness, fncache.DownCompute
	return p
}

func id(comp int64) string {
	if comp == 0 {
		return ""
	}
	return string(rune('a' + comp%26))
}

// get is a lookup.
func (h *tale) get(proc int, op, comp int64) {
	h.send(proc, op, "get", "")
	h.reply(op, "", comp)
}

// Numbers of the events of stored.
const (
	theCall = 10
	theComp = 20
)

// stored returns a tale in which process 1 calls, computes under lease "t" and stores.
func stored() *tale {
	h := &tale{of: map[int64]event{}}
	h.call(1, theCall)
	h.get(1, 11, 0)
	h.ask(1, 12, "t", theCall)
	h.reply(12, "acquired", 0)
	h.compute(1, theComp, theCall)
	h.computed(theComp)
	h.put(1, 13, "t", theComp)
	h.reply(13, "held", 0)
	h.answer(theCall, theComp, "computed")
	return h
}

// read adds a call of a process, its lookup, and the computation as its answer.
func (h *tale) read(proc int, op int64, source string) {
	h.call(proc, op)
	h.get(proc, op+1, theComp)
	h.answer(op, theComp, source)
}

// requireNoBreach checks that histories that begin with stored break no rule.
func requireNoBreach(t *testing.T, tests map[string]func(*tale)) {
	t.Helper()
	for name, more := range tests {
		t.Run(name, func(t *testing.T) {
			h := stored()
			more(h)
			p := handPlan()
			broken, _ := check(&p, h.events)
			assert.Empty(t, broken)
		})
	}
}

func TestGoodAnswersBreakNoRule(t *testing.T) {
	requireNoBreach(t, map[string]func(*tale){
		"nothing else":                 func(*tale) {},
		"read fresh":                   func(h *tale) { h.read(2, 30, "fresh") },
		"read stale":                   func(h *tale) { h.wait(freshness); h.read(2, 30, "stale") },
		"read fresh, within the error": func(h *tale) { h.wait(freshness); h.read(2, 30, "fresh") },
		"read, and invalidated already": func(h *tale) {
			h.call(2, 30)
			h.get(2, 31, theComp)
			h.invalidate(1, 40)
			h.answer(30, theComp, "fresh")
		},
		"another process invalidates while the lookup is under way": func(h *tale) {
			h.call(2, 30)
			h.send(2, 31, "get", "")
			h.invalidate(1, 40)
			h.reply(31, "", theComp)
			h.answer(30, theComp, "fresh")
		},
		"a caller joins a lookup that was sent before an invalidation elsewhere": func(h *tale) {
			h.call(2, 30)
			h.send(2, 31, "get", "")
			h.invalidate(1, 40)
			h.call(2, 50)
			h.reply(31, "", theComp)
			h.answer(30, theComp, "fresh")
			h.answer(50, theComp, "fresh")
		},
		"a caller joins a flight that has its reply already": func(h *tale) {
			h.call(2, 30)
			h.get(2, 31, theComp)
			h.call(2, 50)
			h.answer(50, theComp, "fresh")
			h.answer(30, theComp, "fresh")
		},
		"a caller joins a flight that another has left": func(h *tale) {
			h.call(2, 50)
			h.get(2, 31, theComp)
			h.add(event{Kind: callEnds, Op: 50, Err: "gave up"})
			h.call(2, 40)
			h.answer(40, theComp, "fresh")
		},
		"an invalidation without a reply": func(h *tale) {
			h.add(event{Kind: invalidateBegins, Proc: 1, Op: 40})
			h.add(event{Kind: invalidateEnds, Op: 40, Err: "down"})
			h.read(1, 50, "fresh")
		},
		"refused where another holds the lease": func(h *tale) {
			h.wait(timeout)
			h.ask(1, 40, "u", 0)
			h.reply(40, "acquired", 0)
			h.call(2, 30)
			h.get(2, 31, 0)
			h.ask(2, 32, "v", 30)
			h.reply(32, "held", 0)
			h.add(event{Kind: callEnds, Op: 30, Err: "cold"})
		},
		"refused where its own process holds the lease": func(h *tale) {
			h.wait(timeout)
			h.call(2, 40)
			h.ask(2, 41, "u", 40)
			h.reply(41, "acquired", 0)
			h.compute(2, 61, 40)
			h.call(2, 30)
			h.add(event{Kind: callEnds, Op: 30, Err: "cold"})
		},
	})
}

func TestGoodNearAnswersBreakNoRule(t *testing.T) {
	requireNoBreach(t, map[string]func(*tale){
		"kept, and served": func(h *tale) { h.read(2, 30, "fresh"); h.call(2, 40); h.answer(40, theComp, "near") },
		"kept, and served while the message is under way": func(h *tale) {
			h.read(2, 30, "fresh")
			h.invalidate(1, 50)
			h.call(2, 40)
			h.answer(40, theComp, "near")
		},
		"kept, and served stale with Redis away": func(h *tale) {
			h.read(2, 30, "fresh")
			h.wait(freshness)
			h.call(2, 40)
			v := value{Comp: theComp}
			h.add(event{Kind: callEnds, Op: 40, Value: v, Source: "stale", Text: writeValue("f0(0)", v), Troubles: 1})
		},
	})
}

func TestGoodLeasesBreakNoRule(t *testing.T) {
	requireNoBreach(t, map[string]func(*tale){
		"a lease after an expiry": func(h *tale) {
			h.wait(freshness)
			h.ask(1, 30, "u", 0)
			h.reply(30, "acquired", 0)
			h.wait(lease)
			h.ask(2, 31, "v", 0)
			h.reply(31, "acquired", 0)
		},
		"a lease after an invalidation": func(h *tale) {
			h.invalidate(1, 40)
			h.ask(1, 30, "u", 0)
			h.reply(30, "acquired", 0)
			h.invalidate(2, 50)
			h.ask(2, 31, "v", 0)
			h.reply(31, "acquired", 0)
		},
		"a store whose reply is lost, another's lease, and the store again": func(h *tale) {
			h.wait(freshness)
			h.ask(1, 30, "u", 0)
			h.reply(30, "acquired", 0)
			h.compute(1, 60, 0)
			h.put(1, 61, "u", 60)
			h.fail(61)
			h.wait(freshness)
			h.ask(2, 31, "v", 0)
			h.reply(31, "acquired", 0)
			h.put(1, 62, "u", 60)
			h.reply(62, "held", 0)
		},
		"a lease after a release that had no reply": func(h *tale) {
			h.wait(freshness)
			h.ask(1, 30, "u", 0)
			h.reply(30, "acquired", 0)
			h.send(1, 31, "release", "u")
			h.fail(31)
			h.ask(2, 32, "v", 0)
			h.reply(32, "acquired", 0)
		},
		"a lease that may be after an invalidation that had no reply": func(h *tale) {
			h.send(2, 41, "invalidate", "")
			h.fail(41)
			h.ask(1, 30, "u", 0)
			h.reply(30, "acquired", 0)
		},
		"a lease on an entry that was expired, and then stored again": func(h *tale) {
			h.send(2, 40, "expire", "")
			h.reply(40, "held", 0)
			h.put(1, 41, "t", theComp)
			h.reply(41, "held", 0)
			h.ask(2, 30, "u", 0)
			h.reply(30, "acquired", 0)
		},
		"a lease on a stale entry": func(h *tale) {
			h.wait(freshness)
			h.ask(1, 30, "u", 0)
			h.reply(30, "acquired", 0)
		},
	})
}

// A breach is a history that breaks a rule.
type breach struct {
	broken rule
	more   func(*tale)
}

// requireBreaches checks that each history, which begins with stored, breaks its rule.
func requireBreaches(t *testing.T, tests map[string]breach) {
	t.Helper()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := stored()
			test.more(h)
			p := handPlan()
			var rules []rule
			broken, done := check(&p, h.events)
			assert.Positive(t, done.judged[test.broken])
			for _, v := range broken {
				rules = append(rules, v.rule)
				assert.NotEmpty(t, v.events)
			}
			assert.Contains(t, rules, test.broken)
		})
	}
}

func TestWrongAnswersBreakARule(t *testing.T) {
	requireBreaches(t, map[string]breach{
		"a value of another key": {ruleOrigin, func(h *tale) {
			h.call(2, 30)
			h.get(2, 31, theComp)
			h.add(event{Kind: callEnds, Op: 30, Value: value{Comp: theComp}, Source: "fresh", Text: writeValue("f1(0)", value{Comp: theComp})})
		}},
		"a value that nobody computed": {ruleOrigin, func(h *tale) { h.get(2, 31, 99) }},
		"a value that nothing brought": {ruleRecent, func(h *tale) { h.call(2, 30); h.answer(30, theComp, "fresh") }},
		"a value that was brought before the call": {ruleRecent, func(h *tale) {
			h.read(2, 30, "fresh")
			h.call(2, 40)
			h.answer(40, theComp, "fresh")
		}},
		"a value that was brought before the call, long after a caller had left": {ruleRecent, func(h *tale) {
			h.call(2, 50)
			h.get(2, 31, theComp)
			h.add(event{Kind: callEnds, Op: 50, Err: "gave up"})
			h.wait(flightTime)
			h.call(2, 40)
			h.answer(40, theComp, "stale")
		}},
		"computed before the call": {ruleRecent, func(h *tale) { h.call(1, 30); h.answer(30, theComp, "computed") }},
		"joined after the last step": {ruleRecent, func(h *tale) {
			h.call(1, 30)
			h.answer(30, theComp, "waited")
		}},
		"looked up after an invalidation elsewhere": {ruleOld, func(h *tale) { h.invalidate(1, 40); h.read(2, 30, "fresh") }},
		"stored after an invalidation": {ruleOld, func(h *tale) {
			h.compute(1, 60, 0)
			h.invalidate(2, 40)
			h.put(1, 61, "t", 60)
			h.reply(61, "held", 0)
		}},
		"called after an invalidation here": {ruleOld, func(h *tale) {
			h.call(2, 30)
			h.send(2, 31, "get", "")
			h.invalidate(2, 40)
			h.call(2, 50)
			h.reply(31, "", theComp)
			h.answer(30, theComp, "fresh")
			h.answer(50, theComp, "fresh")
		}},
		"past Timeout":               {ruleTimeout, func(h *tale) { h.wait(timeout + 2*clockError); h.read(2, 30, "stale") }},
		"past Freshness":             {ruleFresh, func(h *tale) { h.wait(freshness + 2*clockError); h.read(2, 30, "fresh") }},
		"a lease over a fresh entry": {ruleRecomputed, func(h *tale) { h.ask(2, 30, "u", 0); h.reply(30, "acquired", 0) }},
	})
}

func TestWrongNearAnswersBreakARule(t *testing.T) {
	requireBreaches(t, map[string]breach{
		"served from memory, and never brought there": {ruleRecent, func(h *tale) { h.call(2, 40); h.answer(40, theComp, "near") }},
		"served from memory, past Freshness": {ruleFresh, func(h *tale) {
			h.read(2, 30, "fresh")
			h.wait(freshness + 2*clockError)
			h.call(2, 40)
			h.answer(40, theComp, "near")
		}},
		"served from memory, invalidated long ago": {ruleNear, func(h *tale) {
			h.read(2, 30, "fresh")
			h.invalidate(1, 50)
			h.wait(nearLag)
			h.call(2, 40)
			h.answer(40, theComp, "near")
		}},
		"served from memory, invalidated here": {ruleOld, func(h *tale) {
			h.read(2, 30, "fresh")
			h.invalidate(2, 50)
			h.call(2, 40)
			h.answer(40, theComp, "near")
		}},
	})
}

func TestWrongLeasesAndErrorsBreakARule(t *testing.T) {
	requireBreaches(t, map[string]breach{
		"two leases at once": {ruleOverlap, func(h *tale) {
			h.wait(freshness)
			h.ask(1, 30, "u", 0)
			h.reply(30, "acquired", 0)
			h.ask(2, 31, "v", 0)
			h.reply(31, "acquired", 0)
		}},
		"two leases at once, one of them renewed": {ruleOverlap, func(h *tale) {
			h.wait(freshness)
			h.ask(1, 30, "u", 0)
			h.reply(30, "acquired", 0)
			h.wait(lease / 2)
			h.send(1, 31, "renew", "u")
			h.reply(31, "held", 0)
			h.wait(lease / 2)
			h.ask(2, 32, "v", 0)
			h.reply(32, "acquired", 0)
		}},
		"stored under another's lease": {ruleStored, func(h *tale) {
			h.wait(freshness)
			h.ask(1, 30, "u", 0)
			h.reply(30, "acquired", 0)
			h.compute(1, 60, 0)
			h.wait(lease)
			h.ask(2, 31, "v", 0)
			h.reply(31, "acquired", 0)
			h.put(1, 61, "u", 60)
			h.reply(61, "held", 0)
		}},
		"stored again after an invalidation": {ruleStored, func(h *tale) {
			h.wait(freshness)
			h.ask(1, 30, "u", 0)
			h.reply(30, "acquired", 0)
			h.compute(1, 60, 0)
			h.put(1, 61, "u", 60)
			h.send(2, 62, "invalidate", "")
			h.reply(62, "held", 0)
			h.put(1, 63, "u", 60)
			h.reply(63, "held", 0)
		}},
		"stored without a lease": {ruleStored, func(h *tale) {
			h.compute(1, 60, 0)
			h.put(1, 61, "never granted", 60)
			h.reply(61, "held", 0)
		}},
		"computed twice under one lease": {ruleUnleased, func(h *tale) { h.compute(1, 60, theCall) }},
		"stored twice under one lease":   {ruleUnleased, func(h *tale) { h.compute(1, 60, 0); h.put(1, 61, "t", 60) }},
		"refused where nobody holds the lease": {ruleError, func(h *tale) {
			h.wait(timeout)
			h.call(2, 30)
			h.get(2, 31, 0)
			h.add(event{Kind: callEnds, Op: 30, Err: "cold"})
		}},
		"Redis away, where it is not an error": {ruleError, func(h *tale) { h.call(2, 30); h.add(event{Kind: callEnds, Op: 30, Err: "down"}) }},
		"closed, and no process closes":        {ruleError, func(h *tale) { h.call(2, 30); h.add(event{Kind: callEnds, Op: 30, Err: "closed"}) }},
		"an error that is not documented": {ruleError, func(h *tale) {
			h.call(1, 30)
			h.add(event{Kind: callEnds, Op: 30, Err: "unexpected: EOF"})
		}},
	})
}

// computeAlone adds a computation without a lease, in a process that has counted troubles
// errors.
func (h *tale) computeAlone(proc int, comp, call int64, troubles uint64) {
	h.add(event{Kind: computeBegins, Proc: proc, Op: comp, Call: call, Value: value{Comp: comp}, Troubles: troubles})
}

// errors adds a failed lookup, after which the process has counted troubles errors.
func (h *tale) errors(proc int, op int64, troubles uint64) {
	h.call(proc, op)
	h.send(proc, op+1, "get", "")
	h.fail(op + 1)
	h.add(event{Kind: callEnds, Op: op, Err: "down", Troubles: troubles})
}

// probe adds a probe.
func (h *tale) probe(proc int, op int64, works bool) {
	h.send(proc, op, "probe", "")
	if works {
		h.reply(op, "", 0)
	} else {
		h.fail(op)
	}
}

// answers adds commands that are never sent to a node that is away, with their answers.
func (h *tale) answers(proc int, op int64) {
	h.get(proc, op, theComp)
	h.send(proc, op+1, "release", "w")
	h.reply(op+1, "lost", 0)
}

// An unleased is a history with a computation without a lease, and its excuse, "" if the
// computation breaks a rule.
type unleased struct {
	excuse excuse
	plan   func(*plan)
	more   func(*tale)
}

func stopsAsking(p *plan) { p.Down = fncache.DownError }
func computes(p *plan)    { p.Funcs[0].OnCold = fncache.Compute }

// requireExcuses checks which excuse each computation without a lease has.
func requireExcuses(t *testing.T, tests map[string]unleased) {
	t.Helper()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := stored()
			test.more(h)
			p := handPlan()
			if test.plan != nil {
				test.plan(&p)
			}
			broken, done := check(&p, h.events)
			if test.excuse != "" {
				assert.Equal(t, map[excuse]int{test.excuse: 1}, done.excused)
				return
			}
			assert.Empty(t, done.excused)
			assert.True(t, slices.ContainsFunc(broken, func(v violation) bool { return v.rule == ruleUnleased }), "%v", broken)
		})
	}
}

func TestAComputationWithoutALeaseIsExcusedByAFailureOfItsOwn(t *testing.T) {
	requireExcuses(t, map[string]unleased{
		"none": {"", nil, func(h *tale) { h.call(2, 30); h.computeAlone(2, 60, 30, 0) }},
		"its lookup failed": {ownFailure, nil, func(h *tale) {
			h.call(2, 30)
			h.send(2, 31, "get", "")
			h.fail(31)
			h.computeAlone(2, 60, 30, 1)
		}},
		"its lookup came too late": {ownFailure, nil, func(h *tale) {
			h.call(2, 30)
			h.send(2, 31, "get", "")
			h.wait(redisTimeout)
			h.computeAlone(2, 60, 30, 1)
			h.reply(31, "", 0)
		}},
		"its lookup failed, and Redis away is to be an error": {"", stopsAsking, func(h *tale) {
			h.call(2, 30)
			h.send(2, 31, "get", "")
			h.fail(31)
			h.computeAlone(2, 60, 30, 1)
		}},
		"its lookup was never sent": {notAsked, nil, func(h *tale) { h.call(2, 30); h.computeAlone(2, 60, 30, 1) }},
		"another command of its process has no answer": {notAsked, nil, func(h *tale) {
			h.other(2, 40)
			h.call(2, 30)
			h.computeAlone(2, 60, 30, 0)
		}},
		"another command of its process had an answer in time": {"", nil, func(h *tale) {
			h.other(2, 40)
			h.add(event{Kind: commandEnds, Op: 40})
			h.call(2, 30)
			h.computeAlone(2, 60, 30, 0)
		}},
	})
}

// other sends a command that concerns no cell.
func (h *tale) other(proc int, op int64) {
	e := event{Seq: uint64(len(h.events) + 1), At: int64(h.now), Kind: commandSent, Proc: proc, Op: op, Verb: verbOther}
	h.of[op], h.events = e, append(h.events, e)
}

func TestAComputationWithoutALeaseIsExcusedByAnErrorBeforeWhileTheNodeCanBeAway(t *testing.T) {
	requireExcuses(t, map[string]unleased{
		"an error long before": {"", nil, func(h *tale) {
			h.errors(2, 40, 1)
			h.wait(reopened + redisTimeout)
			h.call(2, 30)
			h.computeAlone(2, 60, 30, 1)
		}},
		"another command of its process failed a moment before": {notAsked, nil, func(h *tale) {
			h.other(2, 40)
			h.fail(40)
			h.call(2, 30)
			h.computeAlone(2, 60, 30, 0)
		}},
		"the server refused another command": {"", nil, func(h *tale) {
			h.other(2, 40)
			h.add(event{Kind: commandEnds, Op: 40, Err: endedRefused})
			h.call(2, 30)
			h.computeAlone(2, 60, 30, 0)
		}},
		"an error before, and answers since": {"", nil, func(h *tale) {
			h.errors(2, 40, 1)
			h.answers(2, 50)
			h.wait(2 * redisTimeout)
			h.call(2, 30)
			h.computeAlone(2, 60, 30, 1)
		}},
		"an error before, and answers since to what was sent before it": {notAsked, nil, func(h *tale) {
			h.send(2, 50, "get", "")
			h.send(2, 51, "release", "w")
			h.errors(2, 40, 1)
			h.reply(50, "", theComp)
			h.reply(51, "lost", 0)
			h.wait(2 * redisTimeout)
			h.call(2, 30)
			h.computeAlone(2, 60, 30, 1)
		}},
		"an error before, and an answer to a lookup since": {notAsked, nil, func(h *tale) {
			h.errors(2, 40, 1)
			h.get(2, 50, theComp)
			h.wait(2 * redisTimeout)
			h.call(2, 30)
			h.computeAlone(2, 60, 30, 1)
		}},
		"an error before, answers, and another error": {notAsked, nil, func(h *tale) {
			h.errors(2, 40, 1)
			h.answers(2, 50)
			h.errors(2, 44, 2)
			h.wait(2 * redisTimeout)
			h.call(2, 30)
			h.computeAlone(2, 60, 30, 2)
		}},
		"an error that is counted a moment later": {notAsked, nil, func(h *tale) {
			h.call(2, 40)
			h.send(2, 41, "get", "")
			h.call(2, 30)
			h.fail(41)
			h.computeAlone(2, 60, 30, 0)
			h.add(event{Kind: callEnds, Op: 40, Err: "down", Troubles: 1})
		}},
		"an error in another process": {"", nil, func(h *tale) {
			h.call(2, 30)
			h.errors(1, 40, 1)
			h.computeAlone(2, 60, 30, 0)
		}},
	})
}

func TestAComputationWithoutALeaseIsExcusedWhileTheNodeIsAway(t *testing.T) {
	requireExcuses(t, map[string]unleased{
		"the node has gone away": {notAsked, nil, func(h *tale) {
			h.errors(2, 40, 1)
			h.wait(reopened / 2)
			h.call(2, 30)
			h.computeAlone(2, 60, 30, 1)
		}},
		"a probe has failed": {notAsked, nil, func(h *tale) {
			h.errors(2, 40, 1)
			h.wait(reopened - redisTimeout)
			h.probe(2, 50, false)
			h.wait(reopened - redisTimeout)
			h.call(2, 30)
			h.computeAlone(2, 60, 30, 1)
		}},
		"a probe has not failed, and yet nobody asks": {"", nil, func(h *tale) {
			h.errors(2, 40, 1)
			h.wait(reopened - redisTimeout)
			h.probe(2, 50, true)
			h.wait(reopened - redisTimeout)
			h.call(2, 30)
			h.computeAlone(2, 60, 30, 1)
		}},
		"there was no probe in time, for the process stood still": {notAsked, nil, func(h *tale) {
			h.errors(2, 40, 1)
			h.wait(2*reopened - redisTimeout)
			h.add(event{Kind: stalled, Proc: 2, Millis: reopened.Milliseconds()})
			h.call(2, 30)
			h.computeAlone(2, 60, 30, 1)
		}},
	})
}

func TestAComputationWithoutALeaseIsExcusedByItsPolicy(t *testing.T) {
	requireExcuses(t, map[string]unleased{
		"the policy says so, and acquire that it is held": {byPolicy, computes, func(h *tale) {
			h.call(2, 30)
			h.ask(2, 31, "u", 30)
			h.reply(31, "held", 0)
			h.computeAlone(2, 60, 30, 0)
		}},
		"the policy says so, and its own process holds it": {byPolicy, computes, func(h *tale) {
			h.wait(freshness)
			h.call(2, 40)
			h.ask(2, 41, "u", 40)
			h.reply(41, "acquired", 0)
			h.compute(2, 61, 40)
			h.call(2, 30)
			h.computeAlone(2, 60, 30, 0)
		}},
		"the policy says so, and nobody holds it": {"", computes, func(h *tale) {
			h.call(2, 30)
			h.get(2, 31, 0)
			h.computeAlone(2, 60, 30, 0)
		}},
		"its process closes the cache": {closing, nil, func(h *tale) {
			h.call(2, 30)
			h.add(event{Kind: cacheCloses, Proc: 2})
			h.computeAlone(2, 60, 30, 0)
		}},
		"another process closes its cache": {"", nil, func(h *tale) {
			h.call(2, 30)
			h.add(event{Kind: cacheCloses, Proc: 1})
			h.computeAlone(2, 60, 30, 0)
		}},
		"its process closes the cache after the computation began": {"", nil, func(h *tale) {
			h.call(2, 30)
			h.computeAlone(2, 60, 30, 0)
			h.add(event{Kind: cacheCloses, Proc: 2})
		}},
		"a refresh, with Redis away": {"", nil, func(h *tale) {
			h.add(event{Kind: refreshBegins, Proc: 2, Op: 30})
			h.ask(2, 31, "u", 30)
			h.fail(31)
			h.computeAlone(2, 60, 30, 1)
		}},
	})
}

// runs begins a computation under lease "u" and then a second call of the same process. If
// outdated, another process invalidates in between.
func (h *tale) runs(outdated bool) {
	h.wait(timeout)
	h.call(2, 40)
	h.ask(2, 41, "u", 40)
	h.reply(41, "acquired", 0)
	h.compute(2, 60, 40)
	if outdated {
		h.invalidate(1, 70)
	}
	h.call(2, 30)
}

// ends adds the last step of that lease, with its answer.
func (h *tale) ends(verb, status string) {
	if verb == "store" {
		h.put(2, 42, "u", 60)
	} else {
		h.send(2, 42, verb, "u")
	}
	h.reply(42, status, 0)
}

// A joining is a history in which a call joins a computation.
type joining struct {
	broken bool
	more   func(*tale)
}

// away makes Redis unanswered for so long that no process asks it.
func away(h *tale) { h.errors(2, 80, 1) }

// lastMoment begins the second call between an invalidation that followed the store, and the
// store's reply.
func lastMoment(h *tale) {
	h.call(2, 40)
	h.ask(2, 41, "u", 40)
	h.reply(41, "acquired", 0)
	h.compute(2, 60, 40)
	h.computed(60)
	h.put(2, 42, "u", 60)
	h.invalidate(1, 70)
	h.call(2, 30)
}

// given is the answer of the second call, by a process that has counted so many errors.
func given(h *tale, troubles uint64) {
	v := value{Comp: 60}
	h.add(event{Kind: callEnds, Op: 30, Value: v, Source: "waited", Text: writeValue("f0(0)", v), Troubles: troubles})
}

// requireJoining checks whether a call was given a value that was outdated before it began.
func requireJoining(t *testing.T, tests map[string]joining) {
	t.Helper()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := stored()
			test.more(h)
			p := handPlan()
			p.Funcs[0].OnCold = fncache.Wait
			broken, done := check(&p, h.events)
			joined := slices.ContainsFunc(broken, func(v violation) bool { return v.rule == ruleJoined && len(v.events) > 0 })
			assert.Equal(t, test.broken, joined, "%v", broken)
			if test.broken {
				assert.Positive(t, done.judged[ruleJoined])
			}
		})
	}
}

func TestACallThatJoinsIsGivenNoValueWhoseLeaseWasLostBefore(t *testing.T) {
	requireJoining(t, map[string]joining{
		"the lease was held to the end": {false, func(h *tale) {
			h.runs(false)
			h.computed(60)
			h.ends("store", "held")
			given(h, 0)
		}},
		"the lease was lost, after the call had begun": {false, func(h *tale) {
			h.runs(false)
			h.invalidate(1, 70)
			h.computed(60)
			h.ends("store", "lost")
			given(h, 0)
		}},
		"the lease was lost": {true, func(h *tale) {
			h.runs(true)
			h.computed(60)
			h.ends("store", "lost")
			given(h, 0)
		}},
		"the lease was lost, says release": {true, func(h *tale) {
			h.runs(true)
			h.computed(60)
			h.ends("release", "lost")
			given(h, 0)
		}},
		"the lease was lost, and the call began before the computation": {false, func(h *tale) {
			h.wait(timeout)
			h.call(2, 40)
			h.call(2, 30)
			h.ask(2, 41, "u", 40)
			h.reply(41, "acquired", 0)
			h.compute(2, 60, 40)
			h.invalidate(1, 70)
			h.computed(60)
			h.ends("store", "lost")
			given(h, 0)
		}},
	})
}

func TestACallThatJoinsIsGivenAnUnconfirmedValueOnlyIfItCouldNotAsk(t *testing.T) {
	requireJoining(t, map[string]joining{
		"nobody knows, and the call could have asked": {true, func(h *tale) {
			away(h)
			h.answers(2, 90)
			h.runs(true)
			h.computed(60)
			h.put(2, 42, "u", 60)
			given(h, 1)
		}},
		"nobody knows, and the node may have gone away since": {false, func(h *tale) {
			h.runs(true)
			h.computed(60)
			h.put(2, 42, "u", 60)
			h.fail(42)
			given(h, 1)
		}},
		"nobody knows, and the call could not ask": {false, func(h *tale) {
			away(h)
			h.runs(true)
			h.computed(60)
			h.put(2, 42, "u", 60)
			h.fail(42)
			given(h, 1)
		}},
		"nobody knows, and all that went wrong is long ago": {true, func(h *tale) {
			away(h)
			h.wait(reopened)
			h.runs(true)
			h.computed(60)
			h.put(2, 42, "u", 60)
			h.fail(42)
			given(h, 1)
		}},
	})
}

func TestACallThatJoinsIsGivenNoValueWhoseLossWasKnown(t *testing.T) {
	requireJoining(t, map[string]joining{
		"the call could not ask, and the last step said lost": {true, func(h *tale) {
			away(h)
			h.runs(true)
			h.computed(60)
			h.ends("store", "lost")
			given(h, 1)
		}},
		"the call could not ask, and a renewal said lost": {true, func(h *tale) {
			away(h)
			h.runs(true)
			h.send(2, 43, "renew", "u")
			h.reply(43, "lost", 0)
			h.computed(60)
			given(h, 1)
		}},
		"the call could not ask, and the last step said lost too late": {false, func(h *tale) {
			away(h)
			h.runs(true)
			h.computed(60)
			h.put(2, 42, "u", 60)
			h.wait(redisTimeout)
			h.reply(42, "lost", 0)
			given(h, 1)
		}},
		"the call could not ask, and a store that was tried again said lost": {false, func(h *tale) {
			away(h)
			h.runs(true)
			h.computed(60)
			h.put(2, 42, "u", 60)
			h.fail(42)
			h.wait(storeAgain)
			h.put(2, 43, "u", 60)
			h.reply(43, "lost", 0)
			given(h, 1)
		}},
	})
}

func TestACallThatJoinsAStoredOrUnleasedComputationIsGivenNothingOutdated(t *testing.T) {
	requireJoining(t, map[string]joining{
		"it was stored before, and the call joined in the last moment": {true, func(h *tale) {
			lastMoment(h)
			h.reply(42, "held", 0)
			given(h, 0)
		}},
		"it was stored before, and the call asked, and had no answer": {false, func(h *tale) {
			lastMoment(h)
			h.send(2, 31, "get", "")
			h.fail(31)
			h.reply(42, "held", 0)
			given(h, 1)
		}},
		"it has no lease, and runs since before": {true, func(h *tale) {
			h.call(2, 40)
			h.computeAlone(2, 60, 40, 0)
			h.invalidate(1, 70)
			h.call(2, 30)
			h.computed(60)
			given(h, 0)
		}},
		"it has no lease, and the call could not ask": {false, func(h *tale) {
			away(h)
			h.call(2, 40)
			h.computeAlone(2, 60, 40, 1)
			h.invalidate(1, 70)
			h.call(2, 30)
			h.computed(60)
			given(h, 1)
		}},
		"a flight that heard of the holder before": {false, func(h *tale) {
			h.wait(timeout)
			h.call(2, 40)
			h.ask(2, 41, "u", 40)
			h.reply(41, "acquired", 0)
			h.compute(2, 60, 40)
			h.call(2, 30)
			h.ask(2, 31, "v", 30)
			h.computed(60)
			h.put(2, 42, "u", 60)
			h.invalidate(1, 70)
			h.call(2, 50) // boards the flight
			h.add(event{Kind: commandEnds, Op: 31, Status: "held", Holder: "u"})
			h.reply(42, "held", 0)
			h.answer(50, 60, "waited")
		}},
	})
}

// An ordering is what happens after a store, and whether an order of the replies exists.
type ordering struct {
	ok   bool
	more func(*tale)
}

func requireOrders(t *testing.T, tests map[string]ordering) {
	t.Helper()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := stored()
			test.more(h)
			p := handPlan()
			x := newIndex(&p, h.events)
			found, broken, _ := x.checkOrder(x.cells["f0(0)"], time.Minute)
			require.Zero(t, found.unknown)
			assert.Equal(t, test.ok, broken == nil, "%v", broken)
		})
	}
}

func TestRepliesThatNoServerCanHaveGivenHaveNoOrder(t *testing.T) {
	requireOrders(t, map[string]ordering{
		"unchanged":                    {true, func(*tale) {}},
		"read":                         {true, func(h *tale) { h.get(2, 30, theComp) }},
		"read, and gone":               {false, func(h *tale) { h.get(2, 30, 0) }},
		"read, and gone in time":       {true, func(h *tale) { h.wait(timeout); h.get(2, 30, 0) }},
		"read, long after it has gone": {false, func(h *tale) { h.wait(2 * timeout); h.get(2, 30, theComp) }},
		"read during an invalidation": {true, func(h *tale) {
			h.send(1, 31, "invalidate", "")
			h.get(2, 32, theComp)
			h.get(2, 33, 0)
			h.reply(31, "held", 0)
		}},
		"read before and after one, in the wrong order": {false, func(h *tale) {
			h.send(1, 31, "invalidate", "")
			h.get(2, 32, 0)
			h.get(2, 33, theComp)
			h.reply(31, "held", 0)
		}},
		"an invalidation without a reply takes effect late": {true, func(h *tale) {
			h.send(1, 31, "invalidate", "")
			h.fail(31)
			h.get(2, 32, theComp)
			h.get(2, 33, 0)
		}},
		"or never": {true, func(h *tale) {
			h.send(1, 31, "invalidate", "")
			h.fail(31)
			h.get(2, 32, theComp)
		}},
		"but not twice": {false, func(h *tale) {
			h.send(1, 31, "invalidate", "")
			h.fail(31)
			h.get(2, 32, 0)
			h.get(2, 33, theComp)
		}},
		"nor when its connection has gone": {false, func(h *tale) {
			h.send(1, 31, "invalidate", "")
			h.fail(31)
			h.events = append(h.events, event{Seq: uint64(len(h.events) + 1), Kind: settled, Victim: 1, Since: uint64(len(h.events) + 1), At: int64(h.now)})
			h.get(2, 32, theComp)
			h.get(2, 33, 0)
		}},
		"Redis restarted": {true, func(h *tale) {
			h.add(event{Kind: wipeBegins})
			h.add(event{Kind: wipeEnds})
			h.get(2, 32, 0)
		}},
	})
}

func TestRepliesToStepsThatNoServerCanHaveGivenHaveNoOrder(t *testing.T) {
	requireOrders(t, map[string]ordering{
		"an acquire that was sent twice, and whose first sending came after an invalidation, is held by the first": {true, func(h *tale) {
			sentTwice(h)
			h.add(event{Kind: commandEnds, Op: 33, Status: "lost"})
		}},
		"and a store by the second stores nothing": {false, func(h *tale) {
			sentTwice(h)
			h.add(event{Kind: commandEnds, Op: 33, Status: "held"})
		}},
		"and a release of either releases": {true, func(h *tale) {
			sentTwice(h)
			h.add(event{Kind: commandEnds, Op: 33, Status: "lost"})
			h.add(event{Kind: commandSent, Proc: 1, Op: 34, Verb: "release", Token: "u", Try: 2})
			h.add(event{Kind: commandEnds, Op: 34, Status: "held"})
		}},
		"a plain DEL": {false, func(h *tale) {
			h.invalidate(1, 40)
			h.ask(1, 30, "u", 0)
			h.reply(30, "acquired", 0)
			h.send(2, 31, "release", "t")
			h.reply(31, "held", 0)
		}},
	})
}

// sentTwice is an acquire that is sent twice. The second sending is granted, the lease is
// invalidated, another caller learns that the first sending holds it, and the holder of the
// second asks to store.
func sentTwice(h *tale) {
	acquire := event{Kind: commandSent, Proc: 1, Op: 30, Verb: "acquire", Token: "u", Try: 1, Millis: lease.Milliseconds(), Mode: "refresh"}
	h.add(acquire)
	h.fail(30)
	acquire.Op, acquire.Try = 31, 2
	h.add(acquire)
	h.add(event{Kind: commandEnds, Op: 31, Status: "acquired", Try: 2, Present: true})
	h.invalidate(2, 40)
	h.ask(2, 32, "v", 0)
	h.add(event{Kind: commandEnds, Op: 32, Status: "held", Holder: "u", Try: 1})
	h.add(event{Kind: commandSent, Proc: 1, Op: 33, Verb: "store", Token: "u", Try: 2, Millis: timeout.Milliseconds(), Entry: "n"})
}

func TestAHistoryIsCutWhereTheStateIsKnown(t *testing.T) {
	for name, test := range map[string]struct {
		pieces int
		more   func(*tale)
	}{
		"nowhere":            {1, func(*tale) {}},
		"after the last":     {1, func(h *tale) { h.invalidate(1, 40) }},
		"at an invalidation": {2, func(h *tale) { h.invalidate(1, 40); h.get(2, 50, 0) }},
		"not at one that has no reply": {1, func(h *tale) {
			h.send(1, 40, "invalidate", "")
			h.fail(40)
			h.get(2, 50, 0)
		}},
		"not while something is under way": {1, func(h *tale) {
			h.send(2, 50, "get", "")
			h.invalidate(1, 40)
			h.reply(50, "", 0)
			h.get(2, 60, 0)
		}},
		"not while something may be": {1, func(h *tale) {
			h.send(2, 50, "invalidate", "")
			h.fail(50)
			h.invalidate(1, 40)
			h.get(2, 60, 0)
		}},
		"where Redis is restarted": {2, func(h *tale) {
			h.add(event{Kind: wipeBegins})
			h.add(event{Kind: wipeEnds})
			h.get(2, 32, 0)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			h := stored()
			test.more(h)
			p := handPlan()
			x := newIndex(&p, h.events)
			assert.Len(t, pieces(x.operations(x.cells["f0(0)"])), test.pieces)
		})
	}
}

func TestALeaseThatNoReplyNamesIsLeftOut(t *testing.T) {
	late := func(h *tale) { // an acquire whose caller stopped waiting, and its release
		h.wait(2 * freshness)
		h.ask(2, 30, "u", 0)
		h.fail(30)
		h.send(2, 31, "release", "u")
		h.fail(31)
	}
	for name, test := range map[string]struct {
		left int // commands of lease "u"
		more func(*tale)
	}{
		"no reply names it": {0, late},
		"a reply names it": {2, func(h *tale) {
			late(h)
			h.ask(1, 32, "v", 0)
			h.add(event{Kind: commandEnds, Op: 32, Status: "held", Holder: "u", Present: true})
		}},
		"it may have ended a cooldown": {2, func(h *tale) {
			h.send(1, 40, "cooldown", "t")
			h.reply(40, "held", 0)
			h.ask(2, 30, "u", 0)
			h.fail(30)
			h.send(2, 31, "release", "u")
			h.fail(31)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			h := stored()
			test.more(h)
			p := handPlan()
			x := newIndex(&p, h.events)
			left := 0
			for _, o := range x.operations(x.cells["f0(0)"]) {
				if o.Input.(step).Token == "u" {
					left++
				}
			}
			assert.Equal(t, test.left, left)
		})
	}
}

func TestACallThatWaitsMayBeRefusedWhereTheFunctionFailedTwice(t *testing.T) {
	for failures, broken := range []bool{true, true, false, false} {
		h := stored()
		h.wait(timeout)
		h.call(2, 30)
		for n := range int64(failures) {
			h.call(1, 40+n)
			h.ask(1, 50+n, string(rune('a'+n)), 40+n)
			h.reply(50+n, "acquired", 0)
			h.compute(1, 60+n, 40+n)
			h.add(event{Kind: computeEnds, Op: 60 + n, Err: "failing"})
			h.send(1, 70+n, "release", string(rune('a'+n)))
			h.reply(70+n, "held", 0)
			h.add(event{Kind: callEnds, Op: 40 + n, Err: "failing"})
		}
		h.add(event{Kind: callEnds, Op: 30, Err: "cold"})
		p := handPlan()
		p.Funcs[0].OnCold = fncache.Wait
		found, _ := check(&p, h.events)
		refused := slices.ContainsFunc(found, func(v violation) bool { return v.rule == ruleError })
		assert.Equal(t, broken, refused, "%d failures: %v", failures, found)
	}
}

func TestACallThatIsUnderWayWhenItsProcessClosesTheCacheMayFail(t *testing.T) {
	h := &tale{of: map[int64]event{}}
	h.call(2, 30)
	h.add(event{Kind: cacheCloses, Proc: 2})
	h.add(event{Kind: callEnds, Proc: 2, Op: 30, Err: "closed"})
	p := handPlan()
	found, _ := check(&p, h.events)
	require.Empty(t, found)
}
