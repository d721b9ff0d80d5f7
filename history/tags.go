package history

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// This file judges answers by the invalidations that do not delete the entry: those of tags, hard
// and soft, and Func.Expire. The entry stays, and each process judges it. So only an answer, and no
// command, shows that a rule is broken.

// An overtaking is an InvalidateTags or ExpireTags, or a Func.Expire of a cell.
type overtaking struct {
	invalidation
	soft  bool
	tags  []string   // nil for Func.Expire
	sent  []*command // to the fence
	stamp uint64     // that the fence gave it; 0 if no reply has it
}

// marks returns the tags of a value. For each tag it returns the earliest beginning of a
// computation with the tag that the value was made of: its own, or one whose result its function
// was given.
func (x *index) marks(c *comp) map[string]uint64 {
	if c.marks != nil {
		return c.marks
	}
	c.marks = map[string]uint64{}
	for _, tag := range c.end.Tags {
		c.marks[tag] = c.begin.Seq
	}
	for _, op := range c.end.Parts {
		part := x.comps[op]
		if part == nil || part == c {
			continue
		}
		for tag, begin := range x.marks(part) {
			// The value has the tags of its parts, and is as old as the oldest of them.
			if known, has := c.marks[tag]; has {
				begin = min(begin, known)
			}
			c.marks[tag] = min(begin, c.begin.Seq)
		}
	}
	return c.marks
}

// madeAt returns the earliest beginning of the computations that a value was made of and that an
// overtaking concerns. concerns is false if the overtaking does not concern the value.
func (x *index) madeAt(c *cell, comp *comp, o *overtaking) (begin uint64, concerns bool) {
	if o.tags == nil {
		return comp.begin.Seq, o.begin.Cell == c.name
	}
	begin = never
	for _, tag := range o.tags {
		if at, has := x.marks(comp)[tag]; has {
			begin, concerns = min(begin, at), true
		}
	}
	return begin, concerns
}

// inherits reports whether a cell has the tags of an overtaking only from the functions that its
// own function calls.
func inherits(c *cell, o *overtaking) bool {
	return c.fn.Calls != nil && !slices.ContainsFunc(o.tags, func(tag string) bool { return strings.HasPrefix(tag, c.fn.Name+":") })
}

// checkTags judges the answers of a cell by all overtakings.
func (x *index) checkTags(c *cell) (broken []violation) {
	for _, call := range c.calls {
		comp := c.compByOp[call.end.Value.Comp]
		if !call.ended || call.end.Err != "" || comp == nil || call.end.Source == sourceMixed {
			continue
		}
		look := x.lookedUp(c, call, comp)
		for _, o := range x.overtakings {
			if !o.done || o.end.Seq > call.end.Seq {
				continue
			}
			made, concerns := x.madeAt(c, comp, o)
			if !concerns {
				continue
			}
			if v := x.checkOvertaking(c, call, comp, o, look, made); v != nil {
				broken = append(broken, *v)
				break
			}
		}
	}
	return broken
}

// A look is the earliest request that can have brought an answer.
type look struct {
	place  uint64 // 0: nothing is known about it
	at     int64
	fenced bool // the fence was read at that place too, and not before
	joined bool // there was no request: the call joined a computation of its process
}

// checkOvertaking: an answer is not older than an overtaking that had completed when the answer was
// requested. A soft overtaking counts only for answers that are given as fresh. In the process that
// invalidates, the answer is not older than an overtaking that had completed when the call began.
// An answer from memory is not older than an overtaking that completed a while ago. made is when
// the oldest part of the answer was made.
func (x *index) checkOvertaking(c *cell, call *call, comp *comp, o *overtaking, l look, made uint64) *violation {
	source := call.end.Source
	if o.soft && !asFresh(call, comp) {
		return nil
	}
	own := o.begin.Proc == call.begin.Proc && o.end.Seq < call.begin.Seq
	r, judged := ruleTags, false
	switch {
	case own && o.soft && source == "waited" && l.place == 0:
		// The process could not ask whether the value that it joined is stale.
	case own:
		judged = x.promised(o, call, call.begin.Seq, call.begin.At)
	case source == "near":
		r, judged = ruleTagsNear, x.overdue(c, call, o) && !x.lostBefore(o, call.end.Seq)
	case source == "computed", l.place == 0, o.end.Seq > l.place, o.tags != nil && !l.fenced:
	default:
		judged = x.promised(o, call, l.place, l.at)
		if l.joined {
			r = ruleTagsJoined
		}
	}
	switch {
	case !judged:
		return nil
	case o.soft && r != ruleTagsNear:
		r = ruleExpired
	case r == ruleTags && inherits(c, o):
		r = ruleInherited
	}
	x.tally.judged[r]++
	if made > o.begin.Seq {
		return nil
	}
	return &violation{
		r, fmt.Sprintf("%s: process %d was given %v as %s, after tags %v were invalidated (soft: %v)", c.name, call.begin.Proc, comp.begin.Value, source, o.tags, o.soft),
		x.story(c, call, comp, o),
	}
}

// asFresh reports whether an answer says that it is fresh. An answer that was computed for the call
// does not say so, because it may be made of something stale.
func asFresh(call *call, comp *comp) bool {
	switch call.end.Source {
	case "fresh", "near":
		return true
	case "waited":
		return comp.begin.Proc != call.begin.Proc || comp.begin.Seq < call.begin.Seq
	}
	return false
}

// story returns the events about an answer that an overtaking should have prevented.
func (x *index) story(c *cell, call *call, comp *comp, o *overtaking) (events []event) {
	events = []event{comp.begin, comp.end, o.begin, o.end, call.begin, call.end}
	for _, op := range comp.end.Parts {
		if part := x.comps[op]; part != nil {
			events = append(events, part.begin, part.end)
		}
	}
	for _, k := range c.commands {
		if k.delivers() == comp.begin.Op && (k.sent.Verb == "store" || k.sent.Proc == call.begin.Proc && k.sent.Seq < call.end.Seq && k.end.Seq > call.begin.Seq) {
			events = append(events, k.sent, k.end)
		}
	}
	if comp.grant != nil {
		for _, k := range c.byToken[comp.grant.sent.Token] {
			events = append(events, k.sent, k.end)
		}
	}
	for _, k := range o.sent {
		events = append(events, k.sent, k.end)
	}
	for _, r := range x.restores {
		if r.from < call.end.Seq && r.to > comp.begin.Seq {
			events = append(events, r.begin)
		}
	}
	return events
}

// lookedUp returns the earliest look that can have answered a call. Callers of one process share
// lookups, so it may be that of an earlier call.
func (x *index) lookedUp(c *cell, call *call, comp *comp) look {
	l := look{place: never}
	take := func(place uint64, at int64, fenced, joined bool) {
		if place < l.place {
			l = look{place, at, fenced, joined}
		}
	}
	for _, k := range c.commands {
		if k.sent.Proc != call.begin.Proc || k.delivers() != comp.begin.Op || k.sent.Verb == "store" ||
			!x.during(c, call, k.sent.Seq, k.end.Seq) {
			continue
		}
		// The entry that acquire returns is judged by a reading that is sent after its reply.
		take(k.sent.Seq, k.sent.At, k.sent.Fenced || k.sent.Verb == "acquire", false)
	}
	source := call.end.Source
	if mayHaveJoined(c, call) && comp.begin.Proc == call.begin.Proc && x.during(c, call, comp.begin.Seq, x.joinable(c, call, comp)) {
		if call.begin.Seq < comp.begin.Seq || x.couldNotAsk(c, call, comp) {
			return look{} // the call waited before the function began, or could not ask Redis
		}
		// The fence is read again after it has joined.
		take(call.begin.Seq, call.begin.At, true, true)
	}
	if l.place == never || source == "stale" && c.fn.Near > 0 && x.away(c, &call.begin, &call.end) != "" {
		return look{} // from memory, while Redis was away
	}
	return l
}

// overdue reports whether the message of an overtaking must have reached the process of a call
// that is answered from memory; see checkNear.
func (x *index) overdue(c *cell, call *call, o *overtaking) bool {
	allowed := c.fn.Near
	if len(x.plan.Faults) == 0 {
		allowed = min(allowed, nearLag+x.stoodStill(call.begin.Proc, o.end.At, call.begin.At))
	}
	return span(o.end.At, call.begin.At) > allowed
}

// --- A fence that went back ---

// A restore is a change of the fence by the conductor: a return to an earlier state, or a loss.
type restore struct {
	interval
	saved uint64 // the fence returns to a state after this place; 0 for a loss
	begin event
}

// loses reports whether an overtaking can be lost with a restore.
func (r *restore) loses(o *overtaking) bool {
	return r.saved > 0 && o.end.Seq > r.saved && o.begin.Seq < r.to
}

// lostBefore reports whether an overtaking can have been lost before a place.
func (x *index) lostBefore(o *overtaking, seq uint64) bool {
	return slices.ContainsFunc(x.restores, func(r restore) bool { return r.from < seq && r.loses(o) })
}

// promised reports whether a call with a look at a place must respect an overtaking. An overtaking
// that a failover has lost counts only for a process that has seen its stamp, and only until a
// process that has not seen it invalidates something, because that hides the loss.
func (x *index) promised(o *overtaking, call *call, place uint64, at int64) bool {
	if o.tags == nil || !x.lostBefore(o, call.end.Seq) {
		return true
	}
	if o.stamp == 0 || !x.saw(call.begin.Proc, o, place, at) {
		return false
	}
	for _, r := range x.restores {
		if r.from > call.end.Seq || !r.loses(o) {
			continue
		}
		for _, k := range x.fence {
			if k.sent.Verb == verbOvertake && k.sent.Seq < call.end.Seq && k.until > r.from && !x.saw(k.sent.Proc, o, k.sent.Seq, k.sent.At) {
				return false
			}
		}
	}
	return true
}

// noticed is how long a process may take to notice what a reply says, on a busy machine.
const noticed = redisTimeout

// saw reports whether a process has certainly seen the stamp of an overtaking before a place.
func (x *index) saw(proc int, o *overtaking, place uint64, at int64) bool {
	if o.begin.Proc == proc && o.end.Seq < place {
		return true
	}
	for _, k := range x.fence {
		if k.sent.Seq > place {
			return false
		}
		if k.sent.Proc == proc && k.replied && k.end.Seq < place && k.end.Stamp >= o.stamp {
			return span(k.end.At, at) > noticed+x.stoodStill(proc, k.end.At, at)
		}
	}
	return false
}

// overtakenSince reports whether an entry may have become invalid before a place because of what
// has happened to the fence since its lease was granted.
func (x *index) overtakenSince(c *cell, comp *comp, to uint64) bool {
	if c.fn.Tags == nil {
		return false
	}
	if comp.grant == nil || c.fn.Calls != nil {
		return true
	}
	from, epoch := comp.grant.sent.Seq, ""
	for _, r := range x.restores {
		if r.from < to && r.to > from {
			return true
		}
	}
	for _, k := range x.fence {
		if k.sent.Seq > to {
			break
		}
		if k.until < from {
			continue
		}
		switch {
		case k.sent.Verb == verbOvertake && !k.idle && x.concerns(k, c):
			return true
		case k.sent.Verb == verbOvertake || !k.replied:
		case epoch == "":
			epoch = k.end.Epoch
		case epoch != k.end.Epoch:
			return true
		}
	}
	return false
}

// concerns reports whether an invalidation is about a tag of any value of a cell. It considers all
// values, because the stored one may have been replaced by one with another tag.
func (x *index) concerns(k *command, c *cell) bool {
	o := x.overtakingOf[k.sent.Call]
	return o == nil || slices.ContainsFunc(c.comps, func(comp *comp) bool {
		return slices.ContainsFunc(o.tags, func(tag string) bool { return slices.Contains(comp.end.Tags, tag) })
	})
}

// unansweredFence reports whether a request of a process to the fence had no answer, or a late one,
// between two places.
func (x *index) unansweredFence(proc int, from, to uint64, slow time.Duration) bool {
	return slices.ContainsFunc(x.fence, func(k *command) bool {
		return k.sent.Proc == proc && k.sent.Seq <= to && k.until >= from && (!k.replied || span(k.sent.At, k.end.At) >= slow)
	})
}
