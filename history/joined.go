package history

import (
	"fmt"
	"slices"
	"time"
)

// This file is about callers who join a computation of their own process that has
// begun already, and are given its value without a lookup of their own: what keeps
// them from an old value is that the lease was held to the end.

// checkJoined: who joins a computation is not given its value if an invalidation,
// by whomever, came between the beginning of the computation and that of the call.
// Two things excuse it: a lookup that the call shares and that was sent before, and
// that the call could not ask.
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
		fmt.Sprintf("%s: it was invalidated, and then process %d called, and was given %v, which it computed since before", c.name, call.begin.Proc, comp.begin.Value),
		events,
	}}
}

// outdated gives an invalidation between the beginning of a computation and that of
// a call; nil if there is none.
func (c *cell) outdated(comp *comp, call *call) *invalidation {
	for _, i := range c.invalidated {
		if i.done && comp.begin.Seq < i.begin.Seq && i.end.Seq < call.begin.Seq {
			return i
		}
	}
	return nil
}

// tempted says whether the call began while its process computed, or stored, what was
// outdated already, and nothing excuses it if it was given that.
func (x *index) tempted(c *cell, call *call) bool {
	if c.fn.OnCold.String() == "fail" { // it joins nobody
		return false
	}
	return slices.ContainsFunc(c.comps, func(comp *comp) bool {
		return comp.begin.Proc == call.begin.Proc && comp.begin.Seq < call.begin.Seq && (!comp.ended || call.begin.Seq < comp.lastStep(c)) &&
			c.outdated(comp, call) != nil && !x.couldNotAsk(c, call, comp)
	})
}

// sharesLookup says whether a flight that the call can have shared was given the
// value, or was told that the computation holds the lease: that it was not outdated
// when that was asked is for checkDeliveries and the compare in acquire.
func (x *index) sharesLookup(c *cell, call *call, comp *comp) bool {
	return slices.ContainsFunc(c.commands, func(k *command) bool {
		if k.sent.Proc != call.begin.Proc || !k.replied || k.sent.Verb == "store" || !x.during(c, call, k.sent.Seq, k.end.Seq) {
			return false
		}
		return k.delivers() == comp.begin.Op ||
			k.sent.Verb == "acquire" && k.end.Status == "held" && comp.grant != nil && k.end.Holder == comp.grant.sent.Token
	})
}

// couldNotAsk says whether the call may have the value because Redis was away: where
// the lease was held to the end, also if it asked, and was not answered; else only if
// it was not let ask, and nothing had said that the lease was lost.
func (x *index) couldNotAsk(c *cell, call *call, comp *comp) bool {
	if comp.heldToTheEnd(c) {
		return x.away(c, &call.begin, &call.end) != ""
	}
	return x.mayNotAsk(&call.begin, &call.end) && !x.toldLost(c, comp)
}

// heldToTheEnd says whether the last step of the lease found it held.
func (c *comp) heldToTheEnd(of *cell) bool {
	return c.grant != nil && slices.ContainsFunc(of.byToken[c.grant.sent.Token], func(k *command) bool {
		return k.ends() && k.replied && k.end.Status == "held"
	})
}

// storeAgain is how long after a computation a store that failed, or was not sent, is
// sent again at the earliest (settle.go): its callers have been answered by then.
const storeAgain = 100 * time.Millisecond

// toldLost says whether the computation's process has surely learned, before it
// answered, that the lease was lost: from a renewal or from the last step.
func (x *index) toldLost(c *cell, comp *comp) bool {
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
			return false // what comes after is a store that is tried again
		}
	}
	return false
}
