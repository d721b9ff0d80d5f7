package history

import (
	"fmt"
	"slices"
	"time"
)

// This file judges callers that join a running computation of their own process, and get its
// value without a lookup of their own. They get no outdated value, because the lease must have
// been held to the end.

// checkJoined: a call that joins a computation does not get its value if any process
// invalidated between the beginning of the computation and that of the call. There are two
// excuses: the call shares a lookup that was sent before, or it could not ask Redis.
func (x *index) checkJoined(c *cell, call *call, comp *comp) []violation {
	if x.tempted(c, call) {
		x.tally.judged[ruleJoined]++
	}
	if call.end.Source != "waited" || comp.begin.Proc != call.begin.Proc {
		return nil
	}
	i := c.outdated(comp, call)
	if i == nil || x.sharesLookup(c, call, comp) || x.couldNotAsk(c, call, comp) {
		return nil
	}
	events := []event{comp.begin, comp.end, i.begin, i.end, call.begin, call.end}
	if comp.grant != nil {
		for _, k := range c.byToken[comp.grant.sent.Token] {
			events = append(events, k.sent, k.end)
		}
	}
	return []violation{{
		ruleJoined,
		fmt.Sprintf("%s: it was invalidated, then process %d called and got %v, whose computation had begun before", c.name, call.begin.Proc, comp.begin.Value),
		events,
	}}
}

// outdated returns an invalidation between the beginning of a computation and that of a call;
// nil if there is none.
func (c *cell) outdated(comp *comp, call *call) *invalidation {
	for _, i := range c.invalidated {
		if i.done && comp.begin.Seq < i.begin.Seq && i.end.Seq < call.begin.Seq {
			return i
		}
	}
	return nil
}

// tempted reports whether the call began while its process computed or stored an outdated
// value, and has no excuse for getting it.
func (x *index) tempted(c *cell, call *call) bool {
	if c.fn.OnCold.String() == "fail" { // its calls do not join
		return false
	}
	return slices.ContainsFunc(c.comps, func(comp *comp) bool {
		return comp.begin.Proc == call.begin.Proc && comp.begin.Seq < call.begin.Seq && (!comp.ended || call.begin.Seq < comp.lastStep(c)) &&
			c.outdated(comp, call) != nil && !x.couldNotAsk(c, call, comp)
	})
}

// sharesLookup reports whether a flight that the call can have shared got the value, or learned
// that the computation holds the lease. checkDeliveries and the compare in acquire ensure that the
// value was not outdated then.
func (x *index) sharesLookup(c *cell, call *call, comp *comp) bool {
	return slices.ContainsFunc(c.commands, func(k *command) bool {
		if k.sent.Proc != call.begin.Proc || !k.replied || k.sent.Verb == "store" || !x.during(c, call, k.sent.Seq, k.end.Seq) {
			return false
		}
		return k.delivers() == comp.begin.Op ||
			k.sent.Verb == "acquire" && k.end.Status == "held" && comp.grant != nil && k.end.Holder == comp.grant.sent.Token
	})
}

// couldNotAsk reports whether the call may have the value because Redis was away. If the lease
// was held to the end, a lookup without an answer is enough. Otherwise the call must not have
// been able to ask, and no reply may have said that the lease was lost.
func (x *index) couldNotAsk(c *cell, call *call, comp *comp) bool {
	if comp.heldToTheEnd(c) {
		return x.away(c, &call.begin, &call.end) != ""
	}
	return x.mayNotAsk(&call.begin, &call.end) && !x.learnedLost(c, comp)
}

// heldToTheEnd reports whether the last step of the lease found it held.
func (c *comp) heldToTheEnd(of *cell) bool {
	return c.grant != nil && slices.ContainsFunc(of.byToken[c.grant.sent.Token], func(k *command) bool {
		return k.ends() && k.replied && k.end.Status == "held"
	})
}

// storeAgain is the least time after a computation until a store that failed, or was not sent,
// is sent again (settle.go). Its callers have their answers by then.
const storeAgain = 100 * time.Millisecond

// learnedLost reports whether the computation's process certainly learned, before it answered,
// that the lease was lost: from a renewal or from the last step.
func (x *index) learnedLost(c *cell, comp *comp) bool {
	if comp.grant == nil {
		return false
	}
	for _, k := range c.byToken[comp.grant.sent.Token] {
		if k.sent.Verb != "renew" && !k.ends() {
			continue
		}
		if k.replied && k.end.Status == "lost" && !x.mayHaveFailed(&k.sent, &k.end) && span(comp.end.At, k.sent.At) < storeAgain {
			return true
		}
		if k.ends() {
			return false // later commands are retries of the store
		}
	}
	return false
}
