package history

import (
	"slices"
	"strings"
	"time"
)

// This file finds the reasons why a computation may run without a lease. Each reason is derived
// from records; an old error of Redis alone is not a reason.

// An excuse is the reason for a computation without a lease; "" means none.
type excuse string

const (
	byPolicy   excuse = "the cold policy is Compute, and the lease was held"
	ownFailure excuse = "the lookup or the acquire for it failed or was slow"
	notAsked   excuse = "the node may have been away"
	unstorable excuse = "the last value could not be stored, and the lease was left open"
	closing    excuse = "the cache was closed"
)

var excuses = []excuse{byPolicy, ownFailure, notAsked, unstorable, closing}

// reopened is how long after the last failure a node can still be away (internal/remote). One
// failure is enough for a node to be away. A probe follows within 1.5 s, and takes at most
// RedisTimeout if Redis answers; the rest allows for late timers. A stopped process takes
// longer.
const reopened = 2 * time.Second

// excuse returns why a computation may be without a lease.
func (x *index) excuse(c *cell, comp *comp) excuse {
	begin := x.begun[comp.begin.Call]
	switch {
	case begin.Kind != callBegins:
		return "" // Func.Refresh stores, or fails
	case c.fn.OnCold.String() == "compute" && x.leaseSeenHeld(c, &begin, comp.begin.Seq):
		return byPolicy
	case x.leaseSeenOpen(c, &begin, comp.begin.Seq):
		return unstorable
	case x.plan.Down.String() == "error":
		return ""
	}
	return x.away(c, &begin, &comp.begin)
}

// leaseSeenHeld reports whether the call can have learned, up to a place, that the lease was
// held: from acquire, or because its own process held it. An entry that changes at every
// acquire counts too.
func (x *index) leaseSeenHeld(c *cell, begin *event, to uint64) bool {
	const maxRounds = 3 // decide.go
	changed := 0
	for _, k := range c.commands {
		if k.sent.Verb != "acquire" || !k.replied || k.sent.Proc != begin.Proc || !x.within(c, begin, to, k.sent.Seq, k.end.Seq) {
			continue
		}
		if k.end.Status == "changed" {
			changed++
		}
		if k.end.Status == "held" || changed == maxRounds {
			return true
		}
	}
	return slices.ContainsFunc(c.holdings, func(h *holding) bool {
		return h.proc == begin.Proc && x.within(c, begin, to, h.from, h.to)
	})
}

// leaseSeenOpen reports whether the call can have learned, up to a place, that the lease was
// left open.
func (x *index) leaseSeenOpen(c *cell, begin *event, to uint64) bool {
	return slices.ContainsFunc(c.commands, func(k *command) bool {
		mark, _ := unmark(k.end.Holder)
		return mark == markOpen && k.sent.Proc == begin.Proc && x.within(c, begin, to, k.sent.Seq, k.end.Seq)
	})
}

// mayBeRefused reports whether a call may end without an answer: it has waited, or it may not
// wait and another caller computes.
func (x *index) mayBeRefused(c *cell, call *call) bool {
	switch {
	case span(call.begin.At, call.end.At) >= waitTimeout:
		return true
	case c.fn.OnCold.String() == "wait":
		return c.failures(call) >= mostFailures
	case c.fn.OnCold.String() != "fail":
		return false
	}
	return x.leaseSeenHeld(c, &call.begin, call.end.Seq) || x.away(c, &call.begin, &call.end) != ""
}

// mostFailures is how many failures of the function end a call's wait.
const mostFailures = 2

// failures counts the failed runs of the function that a call can have heard of.
func (c *cell) failures(call *call) (n int) {
	for _, comp := range c.comps {
		heard := comp.end.At + int64(lease) // its last message may be on its way for that time
		if comp.ended && comp.end.Err != "" && comp.end.Seq < call.end.Seq && heard >= call.begin.At {
			n++
		}
	}
	return n
}

// away returns why a call can have found Redis away, between its beginning and a place where
// the error count of its process was recorded.
func (x *index) away(c *cell, begin, at *event) excuse {
	// An error is counted before its flight ends, and a call may join the flight in between.
	const between = redisTimeout
	since := begin.At - int64(between+x.stoodStill(begin.Proc, begin.At-int64(between), begin.At))
	another := x.troubled(begin.Proc, since, at.Seq, func(e *event) bool { return e.Kind == callEnds || e.Kind == computeBegins })
	switch {
	case another && x.unansweredFence(begin.Proc, begin.Seq, at.Seq, redisTimeout/2):
		return ownFailure
	case another && slices.ContainsFunc(c.commands, func(k *command) bool {
		return k.sent.Proc == begin.Proc && (k.sent.Verb == "get" || k.sent.Verb == "acquire") &&
			(!k.replied || span(k.sent.At, k.end.At) >= redisTimeout/2) && x.within(c, begin, at.Seq, k.sent.Seq, k.until)
	}):
		return ownFailure
	case x.mayNotAsk(begin, at):
		return notAsked
	case x.hasClosed(at):
		return closing
	}
	return ""
}

// hasClosed reports whether a process had begun to close its cache at a place. A computation whose
// callers have left still runs then, and the functions that it calls compute as while Redis is away.
func (x *index) hasClosed(at *event) bool {
	place, ok := x.closed[at.Proc]
	return ok && place < at.Seq
}

// mayNotAsk reports whether a node can have been away for the process between the beginning of
// a call and a place where the error count was recorded. The operations that failed with the
// node may be counted a moment later.
func (x *index) mayNotAsk(begin, at *event) bool {
	since := begin.At - int64(reopened)
	since -= int64(x.stoodStill(begin.Proc, since, begin.At))
	until := at.At + int64(redisTimeout+x.stoodStill(at.Proc, at.At, at.At+int64(redisTimeout)))
	return x.otherUnanswered(begin, at) || slices.ContainsFunc(x.troubles[begin.Proc], func(t trouble) bool {
		return since <= t.At && t.At <= until && (t.over == 0 || t.over > begin.Seq)
	})
}

// otherUnanswered reports whether a command of the process that concerns no cell, such as that of
// an invalidation to the registry, had no answer, or a late one, between two places. A node may be
// away because of it, long before the operation ends and its error is counted.
func (x *index) otherUnanswered(begin, at *event) bool {
	return slices.ContainsFunc(x.other, func(k *command) bool {
		ended := k.end.Seq > 0
		return k.sent.Proc == begin.Proc && k.sent.Seq <= at.Seq && (!ended || k.end.Seq >= begin.Seq) &&
			(!k.replied || span(k.sent.At, k.end.At) >= redisTimeout/2)
	})
}

// troubled reports whether there was a trouble of a sort between a time and a place.
func (x *index) troubled(proc int, since int64, to uint64, sort func(*event) bool) bool {
	for _, t := range slices.Backward(x.troubles[proc]) {
		if t.At < since {
			return false
		}
		if t.Seq <= to && sort(&t.event) {
			return true
		}
	}
	return false
}

// lastTrouble returns the last trouble of the process before e, for human readers.
func (x *index) lastTrouble(e event) []event {
	for _, t := range slices.Backward(x.troubles[e.Proc]) {
		if t.Seq < e.Seq {
			return []event{t.event}
		}
	}
	return nil
}

// A trouble is a sign that Redis did not answer a process.
type trouble struct {
	event
	// over is a place from which no node can be away because of the trouble, or 0 if there is none.
	// Between the trouble and that place the process got answers to a lookup and a script, which it
	// never sends to a node that is away.
	over uint64
}

// findTroubles finds the signs that Redis did not answer a process. Its error count has grown,
// which shows in the next answer or computation. Or a command may have failed that no function
// counts: a probe, an invalidation of tags, or a release in the background.
func (x *index) findTroubles(events []event) {
	most := map[int]uint64{}        // counted, by process
	sent := map[int64]event{}       // by command
	failed := map[string]bool{}     // by token: a step of the lease had no answer
	answered := map[int][2]uint64{} // the places of the last answered lookup and the last answered script
	add := func(e event) { x.troubles[e.Proc] = append(x.troubles[e.Proc], trouble{event: e}) }
	for _, e := range events {
		switch e.Kind {
		case callEnds, computeBegins:
			if e.Troubles > most[e.Proc] {
				most[e.Proc] = e.Troubles
				add(e)
			}
		case overtakeEnds:
			if e.Err != "" {
				add(e)
			}
		case commandSent:
			sent[e.Op] = e
		case commandEnds:
			s := sent[e.Op]
			switch {
			case s.Token != "" && e.Err == endedUnknown:
				failed[s.Token] = true
				if slices.Contains(uncounted, s.Verb) {
					add(e)
				}
			case slices.Contains(uncounted, s.Verb) && x.mayHaveFailed(&s, &e):
				add(e)
			case s.Verb == "release" && failed[s.Token]: // it is sent again in the background, also to a node that is away
			case s.Cell != "" && s.Verb != "probe" && e.Err == "":
				last := answered[e.Proc]
				if s.Verb == "get" {
					last[0] = max(last[0], s.Seq)
				} else {
					last[1] = max(last[1], s.Seq)
				}
				answered[e.Proc] = last
				x.endTroubles(&e, min(last[0], last[1]))
			}
		}
	}
}

// uncounted are the verbs of commands whose failures may be in no error count.
var uncounted = []string{"probe", "release", verbOvertake, verbOther}

// endTroubles marks the troubles of a process as over with an answer, if the last of them came
// before a place.
func (x *index) endTroubles(answer *event, before uint64) {
	all := x.troubles[answer.Proc]
	for i := len(all) - 1; i >= 0 && all[i].over == 0 && all[len(all)-1].Seq < before; i-- {
		all[i].over = answer.Seq
	}
}

// mayHaveFailed reports whether a probe can have failed: with an error, or by its time limit,
// which began some time before it was sent.
func (x *index) mayHaveFailed(sent, end *event) bool {
	const short, still = redisTimeout / 2, 10 * time.Millisecond
	failed := end.Err != "" && !strings.HasPrefix(end.Text, "NOSCRIPT")
	if sent.Verb == verbOther && end.Err == endedRefused { // by an old server, which answers
		failed = false
	}
	return failed || span(sent.At, end.At) >= short ||
		x.stoodStill(end.Proc, sent.At-int64(redisTimeout), end.At+int64(redisTimeout)) >= still
}
