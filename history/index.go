package history

import (
	"maps"
	"math"
	"slices"
)

// An index has the events of a history by process, cell, call and computation.
type index struct {
	plan     *plan
	cells    map[string]*cell
	begun    map[int64]event // calls and refreshes, by number
	wipes    []interval
	gone     map[int]event     // by process
	calm     map[int][]event   // settled, by process, in order
	stall    map[int][]event   // by process
	closed   map[int]uint64    // by process: the place at which its cache was closed
	troubles map[int][]trouble // by process, in order; see findTroubles
	times    times

	comps        map[int64]*comp // by number
	overtakings  []*overtaking   // in the order of their beginnings
	overtakingOf map[int64]*overtaking
	fence        []*command // to the fence, in the order of their sendings
	other        []*command // that concern neither the fence nor a cell, in the order of their sendings
	restores     []restore  // in order: all that the conductor did to the fence

	tally tally
}

// A cell has the events of one entry.
type cell struct {
	name        string
	fn          *funcPlan
	calls       []*call
	invalidated []*invalidation
	comps       []*comp
	compByOp    map[int64]*comp
	commands    []*command
	byToken     map[string][]*command
	under       map[int]*spans // the times of calls under way, by process
	holdings    []*holding
	changes     []event
}

// spans has the calls of one process in the order of their beginnings. to[i] is the last end of the
// first i+1 calls.
type spans struct{ begin, to []uint64 }

// last returns the last end of the calls that began before a place.
func (s *spans) last(before uint64) uint64 {
	if s == nil {
		return 0
	}
	n, _ := slices.BinarySearch(s.begin, before)
	if n == 0 {
		return 0
	}
	return s.to[n-1]
}

// flightTime is the longest time that a flight continues after its callers have left: three
// lookups and acquires, each for RedisTimeout; the rest is for a busy machine.
const flightTime = 10 * redisTimeout

// to returns the place until which other calls can have joined a flight that a call began.
func (x *index) to(c *call) uint64 {
	switch {
	case !c.ended:
		return never
	case c.end.Err != "gave up":
		return c.end.Seq
	}
	t := c.end.At + int64(flightTime)
	return max(c.end.Seq, x.times.after(t+int64(x.stoodStill(c.end.Proc, c.end.At, t))))
}

// times has the times of all events. They may be out of order: an event takes its place and
// then its time, and its process may be stopped in between.
type times struct {
	seqs  []uint64
	least []int64 // the earliest time from that event on
}

func newTimes(events []event) times {
	t := times{make([]uint64, len(events)), make([]int64, len(events))}
	least := int64(math.MaxInt64)
	for i := len(events) - 1; i >= 0; i-- {
		least = min(least, events[i].At)
		t.seqs[i], t.least[i] = events[i].Seq, least
	}
	return t
}

// after returns the first place from which every event is later than a time.
func (t *times) after(at int64) uint64 {
	i, _ := slices.BinarySearch(t.least, at+1)
	if i == len(t.seqs) {
		return never
	}
	return t.seqs[i]
}

// A holding is the time in which a process may consider itself the holder of the lease: from a
// grant to its last step for the same call.
type holding struct {
	proc     int
	from, to uint64
}

// An interval is two places in the order of events. Something happened at one moment between them.
type interval struct{ from, to uint64 }

// never is past all places.
const never = math.MaxUint64

// A call is one call of a cached function. ended is false if its process was killed before.
type call struct {
	begin, end event
	ended      bool
}

// An invalidation is one call of Func.Invalidate. done is set if it succeeded.
type invalidation struct {
	begin, end event
	done       bool
}

// A comp is one run of the function.
type comp struct {
	begin, end event
	ended      bool
	grant      *command // the acquire that granted its lease; nil if it has none
	stores     []*command
	rereads    []*command        // of the fence, for the same call, after its beginning
	marks      map[string]uint64 // see index.marks
}

// A command is one command to Redis about a cell.
type command struct {
	sent, end event
	replied   bool   // end is its reply
	idle      bool   // it had no effect, and will have none
	until     uint64 // after this place it has no effect
	untilAt   int64  // the time of that
}

func newIndex(p *plan, events []event) *index {
	x := &index{
		plan: p, cells: map[string]*cell{}, begun: map[int64]event{}, gone: map[int]event{}, calm: map[int][]event{},
		comps: map[int64]*comp{}, overtakingOf: map[int64]*overtaking{}, stall: map[int][]event{}, closed: map[int]uint64{}, troubles: map[int][]trouble{}, times: newTimes(events), tally: newTally(),
	}
	b := indexing{index: x, calls: map[int64]*call{}, invalidations: map[int64]*invalidation{}, commands: map[int64]*command{}}
	for _, e := range events {
		b.take(e)
	}
	x.findTroubles(events)
	runs := map[int64][]*comp{} // by call
	for _, comp := range x.comps {
		runs[comp.begin.Call] = append(runs[comp.begin.Call], comp)
		if comp.begin.Batch != 0 { // the computations of a batch read the fence together
			runs[comp.begin.Batch] = append(runs[comp.begin.Batch], comp)
		}
	}
	for _, k := range x.fence {
		x.bound(k)
		for _, comp := range runs[k.sent.Call] {
			if k.sent.Verb == verbReadFence && k.sent.Seq > comp.begin.Seq {
				comp.rereads = append(comp.rereads, k)
			}
		}
		if o := x.overtakingOf[k.sent.Call]; o != nil && k.sent.Verb == verbOvertake {
			o.sent = append(o.sent, k)
			o.stamp = max(o.stamp, k.end.Stamp)
		}
	}
	for _, c := range x.cells {
		x.link(c)
	}
	return x
}

// An indexing is an index while its events are read.
type indexing struct {
	*index
	calls         map[int64]*call
	invalidations map[int64]*invalidation
	commands      map[int64]*command
	wipe          event
	fenceChange   restore
}

// take adds an event.
func (b *indexing) take(e event) {
	c := b.cell(e.Cell)
	switch e.Kind {
	case callBegins:
		b.begun[e.Op] = e
		b.calls[e.Op] = &call{begin: e}
		c.calls = append(c.calls, b.calls[e.Op])
	case callEnds:
		b.calls[e.Op].end, b.calls[e.Op].ended = e, true
	case invalidateBegins:
		b.invalidations[e.Op] = &invalidation{begin: e}
		c.invalidated = append(c.invalidated, b.invalidations[e.Op])
	case invalidateEnds:
		b.invalidations[e.Op].end, b.invalidations[e.Op].done = e, e.Err == ""
	case refreshBegins:
		b.begun[e.Op] = e
	case sourceChanged:
		c.changes = append(c.changes, e)
	case computeBegins:
		c.compByOp[e.Op] = &comp{begin: e}
		c.comps = append(c.comps, c.compByOp[e.Op])
		b.comps[e.Op] = c.compByOp[e.Op]
	case computeEnds:
		c.compByOp[e.Op].end, c.compByOp[e.Op].ended = e, true
	case commandSent, commandEnds:
		b.takeCommand(c, e)
	default:
		b.takeFromOutside(e)
	}
}

// takeCommand adds the beginning or the end of a command.
func (b *indexing) takeCommand(c *cell, e event) {
	if e.Kind == commandEnds {
		k := b.commands[e.Op]
		k.end = e
		k.replied = e.Err == ""
		k.idle = e.Err == endedUnsent || e.Err == endedRefused
		return
	}
	b.commands[e.Op] = &command{sent: e, until: never, untilAt: math.MaxInt64}
	switch {
	case e.Verb == verbOther:
		b.other = append(b.other, b.commands[e.Op])
		return
	case c == nil:
		b.fence = append(b.fence, b.commands[e.Op])
		return
	}
	if e.Verb == "probe" { // which touches neither entry nor lock
		return
	}
	c.commands = append(c.commands, b.commands[e.Op])
	if e.Token != "" {
		c.byToken[e.Token] = append(c.byToken[e.Token], b.commands[e.Op])
	}
}

// takeFromOutside adds what the conductor did, and overtakings.
func (b *indexing) takeFromOutside(e event) {
	switch e.Kind {
	case expireBegins, overtakeBegins:
		o := &overtaking{invalidation: invalidation{begin: e}, soft: e.Soft, tags: e.Tags}
		b.overtakings = append(b.overtakings, o)
		b.overtakingOf[e.Op] = o
	case expireEnds, overtakeEnds:
		o := b.overtakingOf[e.Op]
		o.end, o.done = e, e.Err == ""
	case fenceBegins:
		b.fenceChange = restore{interval: interval{from: e.Seq}, saved: e.Since, begin: e}
	case fenceEnds:
		b.fenceChange.to = e.Seq
		b.restores = append(b.restores, b.fenceChange)
	case processGone:
		b.gone[e.Victim] = e
	case settled:
		b.calm[e.Victim] = append(b.calm[e.Victim], e)
	case stalled:
		b.stall[e.Proc] = append(b.stall[e.Proc], e)
	case cacheCloses:
		b.closed[e.Proc] = e.Seq
	case wipeBegins:
		b.wipe = e
	case wipeEnds:
		b.wipes = append(b.wipes, interval{b.wipe.Seq, e.Seq})
	}
}

func (x *index) cell(name string) *cell {
	c := x.cells[name]
	if c == nil && name != "" {
		c = &cell{name: name, fn: x.plan.funcOf(name), compByOp: map[int64]*comp{}, byToken: map[string][]*command{}, under: map[int]*spans{}}
		x.cells[name] = c
	}
	return c
}

// names returns the names of the cells in order.
func (x *index) names() []string { return slices.Sorted(maps.Keys(x.cells)) }

// link assigns commands to computations, and finds the times in which commands can have had an
// effect.
func (x *index) link(c *cell) {
	for _, call := range c.calls {
		s := c.under[call.begin.Proc]
		if s == nil {
			s = &spans{}
			c.under[call.begin.Proc] = s
		}
		s.to = append(s.to, max(x.to(call), s.last(never)))
		s.begin = append(s.begin, call.begin.Seq)
	}
	grants := map[int64][]*command{} // by call, in the order of the replies
	for _, k := range c.commands {
		x.bound(k)
		if k.sent.Verb == "store" {
			if comp := c.compByOp[k.sent.Value.Comp]; comp != nil {
				comp.stores = append(comp.stores, k)
			}
		}
		if k.granted() {
			grants[k.sent.Call] = append(grants[k.sent.Call], k)
		}
	}
	// A computation and the acquire before it carry the number of one call. A
	// call may have several of both, one after the other.
	for _, comp := range c.comps {
		of := grants[comp.begin.Call]
		for i, k := range of {
			if k.end.Seq < comp.begin.Seq && k.sent.Proc == comp.begin.Proc {
				comp.grant = k
				grants[comp.begin.Call] = slices.Delete(slices.Clone(of), i, i+1)
				break
			}
		}
	}
	c.hold()
}

// hold finds the times in which processes held the lease, by their own knowledge.
func (c *cell) hold() {
	of := map[int64]*holding{} // by call
	for _, k := range c.commands {
		switch h := of[k.sent.Call]; {
		case h == nil && k.granted():
			h = &holding{k.sent.Proc, k.end.Seq, k.end.Seq}
			of[k.sent.Call] = h
			c.holdings = append(c.holdings, h)
		case h != nil && k.ends() && k.replied:
			h.to = max(h.to, k.end.Seq)
		case h != nil && k.ends():
			h.to = max(h.to, k.until)
		}
	}
	for _, comp := range c.comps {
		h := of[comp.begin.Call]
		switch {
		case h == nil:
		case comp.ended:
			h.to = max(h.to, comp.end.Seq)
		default:
			h.to = never
		}
	}
}

// bound finds until when a command can have had an effect. A command with a reply has had its
// effect before the reply. A command without a reply may be on its way until its connection is
// known to be gone. Each sending is a command of its own.
func (x *index) bound(k *command) {
	switch {
	case k.idle:
		k.until, k.untilAt = k.sent.Seq, k.sent.At
		return
	case k.replied:
		k.until, k.untilAt = k.end.Seq, k.end.At
		return
	}
	bounds := x.calm[k.sent.Proc]
	if k.end.Seq > 0 {
		for _, e := range bounds {
			if e.Since > k.end.Seq {
				k.until, k.untilAt = e.Seq, e.At
				break
			}
		}
	}
	if gone, ok := x.gone[k.sent.Proc]; ok && gone.Seq < k.until {
		k.until, k.untilAt = gone.Seq, gone.At
	}
}

// granted reports whether k is known to have got the lease.
func (k *command) granted() bool {
	return k.sent.Verb == "acquire" && k.replied && k.end.Status == "acquired"
}

// delivers returns the computation whose value k has brought into its process; 0 if none.
func (k *command) delivers() int64 {
	switch {
	case !k.replied:
		return 0
	case k.sent.Verb == "get", k.sent.Verb == "acquire" && k.end.Status == "changed":
		return k.end.Value.Comp
	case k.sent.Verb == "store" && k.end.Status == "held":
		return k.sent.Value.Comp
	}
	return 0
}
