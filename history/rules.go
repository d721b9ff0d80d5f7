package history

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A rule is the name of a property that every history must have.
type rule string

// The rules. The function that checks a rule has its reason in its comment.
const (
	ruleOrigin     rule = "a value comes from a computation of its own key"
	ruleRecent     rule = "an answer is of a lookup or a computation that was under way during the call"
	ruleOld        rule = "no value is older than the last invalidation"
	ruleJoined     rule = "no value that was joined is older than an invalidation before the call"
	ruleTimeout    rule = "no value is older than Timeout"
	ruleFresh      rule = "no value marked fresh is older than Freshness"
	ruleRecomputed rule = "no lease is granted where a fresh entry was stored before it was asked for"
	ruleOverlap    rule = "leases overlap only after an expiry or an invalidation"
	ruleStored     rule = "only the holder of the lease stores"
	ruleUnleased   rule = "a computation has a lease of its own, unless the cold policy or Redis is the reason"
	ruleNear       rule = "no value from memory is older than an invalidation a while ago"
	ruleTags       rule = "no value is older than the last invalidation of a tag of it"
	ruleInherited  rule = "no value is older than the last invalidation of a tag of its parts"
	ruleExpired    rule = "no value marked fresh is older than the last expiry of it or of a tag"
	ruleTagsJoined rule = "no value that was joined is older than an invalidation of a tag before the call"
	ruleTagsNear   rule = "no value from memory is older than an invalidation or expiry of a tag a while ago"
	ruleError      rule = "errors are those that are documented"
	ruleOrder      rule = "the server's replies have an order"
)

var rules = []rule{
	ruleOrigin, ruleRecent, ruleOld, ruleJoined, ruleTimeout, ruleFresh, ruleRecomputed, ruleOverlap, ruleStored, ruleUnleased, ruleNear,
	ruleTags, ruleInherited, ruleExpired, ruleTagsJoined, ruleTagsNear, ruleError, ruleOrder,
}

// A violation is a broken rule, with the events that show it.
type violation struct {
	rule   rule
	text   string
	events []event
}

func (v violation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "BROKEN: %s\n  %s\n", v.rule, v.text)
	shown := slices.SortedFunc(slices.Values(v.events), func(a, b event) int { return int(int64(a.Seq) - int64(b.Seq)) })
	for _, e := range shown {
		fmt.Fprintf(&b, "  %s\n", &e)
	}
	return b.String()
}

// clockError is the greatest error of an age. A process learns the server's clock from a
// question and an answer that take at most RedisTimeout, so it is off by at most half of that.
// The process that stored and the one that reads may be off in opposite directions. The
// addition is for times in whole milliseconds.
const clockError = redisTimeout + 5*time.Millisecond

// check returns the violations in a history, and how much there was to judge. protocol.go
// checks the order of replies.
func check(p *plan, events []event) (broken []violation, done tally) {
	x := newIndex(p, events)
	for _, name := range x.names() {
		c := x.cells[name]
		checks := []func(*cell) []violation{
			x.checkAnswers, x.checkDeliveries, x.checkGrants, x.checkOverlaps, x.checkStores, x.checkLeases, x.checkErrors, x.checkTags,
		}
		for _, check := range checks {
			broken = append(broken, check(c)...)
		}
	}
	return append(broken, x.checkOvertakingErrors()...), x.tally
}

// checkAnswers checks the answers to calls.
func (x *index) checkAnswers(c *cell) (broken []violation) {
	for _, call := range c.calls {
		if !call.ended || call.end.Err != "" {
			continue
		}
		x.tally.judged[ruleOrigin]++
		v := call.end.Value
		comp := c.compByOp[v.Comp]
		if cell, _ := parseValue(call.end.Text); cell != c.name || comp == nil || comp.begin.Value != v {
			broken = append(broken, violation{ruleOrigin, fmt.Sprintf("%s answered %q", c.name, call.end.Text), []event{call.begin, call.end}})
			continue
		}
		broken = append(broken, x.checkOwnInvalidations(c, call, comp)...)
		if call.end.Source == sourceMixed {
			continue
		}
		if call.begin.Batch != 0 {
			x.tally.elements++
		}
		if call.end.Source == "near" {
			broken = append(broken, x.checkNear(c, call, comp)...)
		} else {
			broken = append(broken, x.checkRecent(c, call, comp)...)
			broken = append(broken, x.checkJoined(c, call, comp)...)
		}
	}
	return broken
}

// checkOwnInvalidations: in the process that invalidates, no call that begins after the end of the
// invalidation gets an older value. (In other processes it depends on the lookup, which may have
// been sent before the call began; see checkDeliveries, and checkJoined for calls without a
// lookup.)
func (x *index) checkOwnInvalidations(c *cell, call *call, comp *comp) []violation {
	for _, i := range c.invalidated {
		if !i.done || i.begin.Proc != call.begin.Proc || i.end.Seq > call.begin.Seq {
			continue
		}
		x.tally.judged[ruleOld]++
		if comp.begin.Seq < i.begin.Seq {
			return []violation{{
				ruleOld,
				fmt.Sprintf("%s: process %d had invalidated, then called, and got %v", c.name, call.begin.Proc, comp.begin.Value),
				[]event{comp.begin, i.begin, i.end, call.begin, call.end},
			}}
		}
	}
	return nil
}

// checkRecent finds the possible origins of the answer: commands that brought the value into
// the process while the call was under way, or that were sent for another call that was under
// way when this one began, because callers of one process share lookups. One of the origins
// must have been young enough.
func (x *index) checkRecent(c *cell, call *call, comp *comp) []violation {
	x.tally.judged[ruleRecent]++
	if call.end.Source == "computed" {
		if comp.begin.Proc == call.begin.Proc && comp.begin.Seq > call.begin.Seq {
			return nil
		}
		return []violation{{ruleRecent, fmt.Sprintf("%s: the answer is from a computation that the call cannot have begun", c.name), []event{comp.begin, call.begin, call.end}}}
	}
	evidence := []event{comp.begin, comp.end, call.begin, call.end}
	limit, ruleBroken := timeout, ruleTimeout
	if call.end.Source == "fresh" {
		limit, ruleBroken = freshness, ruleFresh
	}
	recent, young := false, false
	for _, k := range c.commands {
		if k.sent.Proc != call.begin.Proc || k.delivers() != comp.begin.Op || !x.during(c, call, k.sent.Seq, k.end.Seq) {
			continue
		}
		recent = true
		young = young || k.sent.Verb == "store" || span(comp.storedBefore(k.end.Seq), k.end.At) < limit+clockError
		evidence = append(evidence, k.sent, k.end)
	}
	if comp.begin.Proc == call.begin.Proc && mayHaveJoined(c, call) {
		// checkJoined judges invalidations in between.
		if x.during(c, call, comp.begin.Seq, x.joinable(c, call, comp)) {
			recent, young = true, true
		}
	}
	switch {
	case !recent && call.end.Source == "stale" && c.fn.Near > 0 && x.away(c, &call.begin, &call.end) != "":
		return x.checkKept(call, comp, c, timeout, ruleTimeout)
	case !recent:
		return []violation{{ruleRecent, fmt.Sprintf("%s: nothing brought %v into process %d in time", c.name, comp.begin.Value, call.begin.Proc), evidence}}
	}
	x.tally.judged[ruleBroken]++
	if !young {
		return []violation{{ruleBroken, fmt.Sprintf("%s: %v was stored too long before it was read", c.name, comp.begin.Value), evidence}}
	}
	return nil
}

// mayHaveJoined reports whether an answer can be that of a computation that the call has joined. A
// value that a tag expired meanwhile is given as stale.
func mayHaveJoined(c *cell, call *call) bool {
	return call.end.Source == "waited" || call.end.Source == "stale" && c.fn.Tags != nil
}

// nearLag is how long the message of an invalidation may take, without faults.
const nearLag = 50 * time.Millisecond

// checkNear: an answer from a process's own memory was brought into it, is fresh, and is not older
// than an invalidation that ended more than Near before the call. Without faults, it is not older
// than an invalidation that ended nearLag before. Times in which processes are known to have stood
// still are added.
func (x *index) checkNear(c *cell, call *call, comp *comp) (broken []violation) {
	broken = x.checkKept(call, comp, c, freshness, ruleFresh)
	if slices.ContainsFunc(c.invalidated, func(i *invalidation) bool { return i.done && i.end.Seq < call.begin.Seq }) {
		x.tally.judged[ruleNear]++
	}
	for _, i := range c.invalidated {
		ago := span(i.end.At, call.begin.At)
		if !i.done || comp.begin.Seq > i.begin.Seq || ago <= min(c.fn.Near, nearLag) {
			continue
		}
		allowed := c.fn.Near
		if len(x.plan.Faults) == 0 {
			allowed = min(allowed, nearLag+x.stoodStill(call.begin.Proc, i.end.At, call.begin.At))
		}
		if ago > allowed {
			broken = append(broken, violation{
				ruleNear, fmt.Sprintf("%s: %v was served %v after the invalidation, not at most %v", c.name, comp.begin.Value, ago, allowed),
				[]event{comp.begin, i.begin, i.end, call.begin, call.end},
			})
			break
		}
	}
	return broken
}

// checkKept: an answer from memory was brought there, and is young enough.
func (x *index) checkKept(call *call, comp *comp, c *cell, limit time.Duration, old rule) (broken []violation) {
	x.tally.judged[ruleRecent]++
	x.tally.judged[old]++
	evidence := []event{comp.begin, comp.end, call.begin, call.end}
	brought := false
	for _, k := range c.commands {
		brought = brought || k.sent.Proc == call.begin.Proc && k.delivers() == comp.begin.Op && k.end.Seq < call.end.Seq
	}
	if !brought {
		broken = append(broken, violation{ruleRecent, fmt.Sprintf("%s: nothing brought %v into process %d", c.name, comp.begin.Value, call.begin.Proc), evidence})
	}
	if span(comp.storedBefore(call.end.Seq), call.begin.At) >= limit+clockError {
		broken = append(broken, violation{old, fmt.Sprintf("%s: %v was stored too long before it was served", c.name, comp.begin.Value), evidence})
	}
	return broken
}

// stoodStill returns how long a process, or the process of the links, did not run between two
// times.
func (x *index) stoodStill(proc int, from, to int64) (d time.Duration) {
	for _, stalls := range [][]event{x.stall[proc], x.stall[0]} {
		for i := range stalls {
			e := &stalls[i]
			length := time.Duration(e.Millis+1) * time.Millisecond
			if e.At > from && e.At-int64(length) < to {
				d += length
			}
		}
	}
	return d
}

// during reports whether an operation from one place to another can have answered the call.
func (x *index) during(c *cell, call *call, from, to uint64) bool {
	return x.within(c, &call.begin, call.end.Seq, from, to)
}

// within is like during, for the part of a call before a place.
func (x *index) within(c *cell, begin *event, limit, from, to uint64) bool {
	return from <= limit && (to >= begin.Seq || c.under[begin.Proc].last(from) > begin.Seq)
}

// storedBefore returns when the last store before a place was sent. The value's age began
// before that.
func (c *comp) storedBefore(seq uint64) (at int64) {
	for _, k := range c.stores {
		if k.sent.Seq < seq {
			at = k.sent.At
		}
	}
	return at
}

// joinable returns until when a call can have joined a computation of its process. A computation
// with a lease can be joined until its last step, which may be a release. A computation without a
// lease can be joined only by calls from before its beginning, or, if Redis is not asked at all, as
// long as it runs.
func (x *index) joinable(c *cell, call *call, comp *comp) uint64 {
	to := comp.lastStep(c)
	if comp.grant == nil {
		to = comp.begin.Seq
	}
	if call.begin.At < comp.end.At+int64(clockError) && x.mayNotAsk(&call.begin, &call.end) {
		to = max(to, comp.end.Seq, call.begin.Seq+1) // its end is recorded a moment before it is published
	}
	return to
}

// lastStep returns when the computation's lease was released and the fence had been read again,
// by the records.
func (c *comp) lastStep(of *cell) uint64 {
	to := c.end.Seq
	if c.grant == nil {
		return to
	}
	for _, k := range c.rereads {
		to = max(to, k.end.Seq)
	}
	for _, k := range of.byToken[c.grant.sent.Token] {
		if k.ends() {
			to = max(to, k.end.Seq)
		}
	}
	return to
}

// ends reports whether k can end the lease that it names.
func (k *command) ends() bool {
	return k.sent.Verb == "store" || k.sent.Verb == "release" || k.sent.Verb == "cooldown"
}

// checkDeliveries: no command that is sent after the end of any process's invalidation brings
// an older value: neither a read of the entry, nor a store that finds its lease held.
func (x *index) checkDeliveries(c *cell) (broken []violation) {
	for _, k := range c.commands {
		op := k.delivers()
		if op == 0 {
			continue
		}
		x.tally.judged[ruleOrigin]++
		comp := c.compByOp[op]
		if comp == nil {
			broken = append(broken, violation{ruleOrigin, fmt.Sprintf("%s: no computation %d", c.name, op), []event{k.sent, k.end}})
			continue
		}
		for _, i := range c.invalidated {
			if !i.done || i.end.Seq > k.sent.Seq {
				continue
			}
			x.tally.judged[ruleOld]++
			if comp.begin.Seq < i.begin.Seq {
				events := []event{comp.begin, i.begin, i.end, k.sent, k.end}
				for _, s := range comp.stores {
					events = append(events, s.sent, s.end)
				}
				broken = append(broken, violation{ruleOld, fmt.Sprintf("%s: %s brought %v", c.name, k.sent.Verb, comp.begin.Value), events})
				break
			}
		}
	}
	return broken
}

// disturbed reports whether the entry and the lock can have been deleted in a time, by an
// invalidation or with all of Redis.
func (x *index) disturbed(c *cell, from, to uint64) bool {
	for _, w := range x.wipes {
		if w.from < to && w.to > from {
			return true
		}
	}
	for _, k := range c.commands {
		if (k.sent.Verb == "invalidate" || k.sent.Verb == "expire") && !k.idle && k.sent.Seq < to && k.until > from {
			return true
		}
	}
	return false
}

// checkGrants: an acquire after a fresh entry was stored returns the entry and not the lease.
// An entry is certainly fresh if less than Freshness has passed from the end of its computation
// to the grant.
func (x *index) checkGrants(c *cell) (broken []violation) {
	for _, k := range c.commands {
		if k.sent.Verb != "acquire" || !k.replied || k.sent.Mode != "compare" {
			continue
		}
		for _, comp := range c.comps {
			for _, s := range comp.stores {
				if !s.replied || s.end.Status != "held" || s.end.Seq > k.sent.Seq ||
					span(comp.end.At, k.end.At) >= freshness-clockError || x.disturbed(c, comp.firstSent(s.sent.Entry), k.end.Seq) || x.overtakenSince(c, comp, k.end.Seq) {
					continue
				}
				x.tally.judged[ruleRecomputed]++
				if k.granted() {
					broken = append(broken, violation{
						ruleRecomputed, fmt.Sprintf("%s: %v was there", c.name, comp.begin.Value),
						[]event{comp.begin, comp.end, s.sent, s.end, k.sent, k.end},
					})
				}
			}
		}
	}
	return broken
}

// firstSent returns the place of the first store of an entry. A store that is sent again has the
// reply of the first one, even if Func.Expire has marked the entry in between.
func (c *comp) firstSent(entry string) (seq uint64) {
	seq = never
	for _, s := range c.stores {
		if s.sent.Entry == entry {
			seq = min(seq, s.sent.Seq)
		}
	}
	return seq
}

// checkOverlaps: between one grant and the next, the first lease has ended: its holder released
// it, it can have expired, or it was deleted.
func (x *index) checkOverlaps(c *cell) (broken []violation) {
	var asked []*command
	for _, k := range c.commands {
		if k.sent.Verb == "acquire" && k.replied {
			asked = append(asked, k)
		}
	}
	for _, first := range asked {
		for _, second := range asked {
			if !first.granted() || second.sent.Seq <= first.end.Seq || second.sent.Token == first.sent.Token {
				continue
			}
			until, why := x.surelyHeld(c, first, second)
			if why == nil || second.end.At >= until || x.disturbed(c, first.sent.Seq, second.end.Seq) {
				continue
			}
			x.tally.judged[ruleOverlap]++
			if second.granted() {
				broken = append(broken, violation{
					ruleOverlap, fmt.Sprintf("%s: lease %.6s was held when %.6s was granted", c.name, first.sent.Token, second.sent.Token),
					append(x.around(c, first, second), why.sent, why.end, first.sent, first.end, second.sent, second.end),
				})
			}
		}
	}
	return broken
}

// surelyHeld returns the time until which a lease cannot have expired, and the command that
// shows it; nil if its holder can have released it.
func (x *index) surelyHeld(c *cell, first, second *command) (until int64, why *command) {
	why = first
	for _, k := range c.byToken[first.sent.Token] {
		if k.sent.Seq > second.end.Seq {
			continue
		}
		if k.ends() {
			return 0, nil
		}
		if k.sent.Verb == "renew" && k.replied && k.end.Status == "held" && k.end.Seq < second.sent.Seq && k.sent.Seq > why.sent.Seq {
			why = k
		}
	}
	return why.sent.At + why.sent.Millis*int64(time.Millisecond) - int64(clockTick), why
}

// clockTick is how much earlier than recorded a lock can expire, because Redis counts whole
// milliseconds.
const clockTick = 2 * time.Millisecond

// around returns the other commands about leases between two grants.
func (x *index) around(c *cell, first, second *command) (events []event) {
	for _, k := range c.commands {
		if k.ends() && k.sent.Seq < second.end.Seq && k.until > first.sent.Seq {
			events = append(events, k.sent, k.end)
		}
	}
	return events
}

// checkStores: a store succeeds only while the lease is held. The lease is not held if an
// invalidation or another grant came entirely after its own grant. A store that is retried, because
// it had no answer, may have succeeded the first time, before the other grant, or before
// Func.Expire, which keeps the entry. So the first sending of its entry counts.
func (x *index) checkStores(c *cell) (broken []violation) {
	grants := map[string]*command{}
	first := map[string]uint64{}
	for _, k := range c.commands {
		if k.granted() {
			grants[k.sent.Token] = k
		}
		if seq, known := first[k.sent.Entry]; k.sent.Verb == "store" && (!known || k.sent.Seq < seq) {
			first[k.sent.Entry] = k.sent.Seq
		}
	}
	for _, s := range c.commands {
		if s.sent.Verb != "store" || !s.replied || s.end.Status != "held" {
			continue
		}
		x.tally.judged[ruleStored]++
		grant := grants[s.sent.Token]
		if grant == nil {
			broken = append(broken, violation{ruleStored, fmt.Sprintf("%s: there was no lease %.6s", c.name, s.sent.Token), []event{s.sent, s.end}})
			continue
		}
		for _, k := range c.commands {
			ended := k.sent.Verb == "invalidate" && k.replied && k.end.Seq < s.sent.Seq ||
				(k.sent.Verb == "expire" && k.replied || k.granted() && k.sent.Token != s.sent.Token) && k.end.Seq < first[s.sent.Entry]
			if ended && k.sent.Seq > grant.end.Seq {
				broken = append(broken, violation{
					ruleStored, fmt.Sprintf("%s: lease %.6s had ended", c.name, s.sent.Token),
					[]event{grant.sent, grant.end, k.sent, k.end, s.sent, s.end},
				})
				break
			}
		}
	}
	return broken
}

// checkLeases: each computation has a lease of its own. It may run without one if the records show
// an excuse; see excuse.
func (x *index) checkLeases(c *cell) (broken []violation) {
	of := map[string]*comp{}
	for _, comp := range c.comps {
		for _, s := range comp.stores {
			if other := of[s.sent.Token]; other != nil && other != comp {
				broken = append(broken, violation{ruleUnleased, c.name + ": two computations store under one lease", []event{other.begin, comp.begin, s.sent}})
			}
			of[s.sent.Token] = comp
		}
		why := x.excuse(c, comp)
		switch {
		case why == "":
			x.tally.judged[ruleUnleased]++
		case comp.grant == nil:
			x.tally.excused[why]++
		}
		if comp.grant == nil && why == "" {
			broken = append(broken, violation{
				ruleUnleased, c.name + ": a computation without a lease, although its process could ask",
				append(x.lastTrouble(comp.begin), x.begun[comp.begin.Call], comp.begin, comp.end),
			})
		}
	}
	return broken
}

// checkErrors: each error of a call has its reason. ErrRedisDown is allowed only if the plan says
// so.
func (x *index) checkErrors(c *cell) (broken []violation) {
	for _, call := range c.calls {
		x.tally.judged[ruleError]++
		switch err := call.end.Err; {
		case err == "", err == "failing", err == "gave up":
		case err == "closed" && x.hasClosed(&call.end):
		case err == "cold" && x.mayBeRefused(c, call):
		case err == "down" && x.plan.Down.String() == "error" && x.away(c, &call.begin, &call.end) != "":
		default:
			broken = append(broken, violation{ruleError, fmt.Sprintf("%s: %s", c.name, err), []event{call.begin, call.end}})
		}
	}
	for _, i := range c.invalidated {
		if err := i.end.Err; err != "" && err != "down" {
			broken = append(broken, violation{ruleError, fmt.Sprintf("%s: invalidate: %s", c.name, err), []event{i.begin, i.end}})
		}
	}
	return broken
}

// checkOvertakingErrors: invalidating tags, and expiring an entry, fails only because of Redis.
func (x *index) checkOvertakingErrors() (broken []violation) {
	for _, o := range x.overtakings {
		if err := o.end.Err; err != "" && err != "down" {
			broken = append(broken, violation{ruleError, fmt.Sprintf("%s %v: %s", o.begin.Kind, o.tags, err), []event{o.begin, o.end}})
		}
	}
	return broken
}
