package history

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// This file models the protocol as a state machine: one lock and one entry, with the scripts as
// operations. For the records of each cell there must be an order in which a server could have
// executed the commands, each between its sending and its reply, with the recorded replies.
//
// Time is part of the model: a lock or an entry can have expired if its earliest expiry is
// before the end of an operation, and must have if its latest expiry is before the beginning. A
// command without a reply may have been executed at any time until its connection was known to
// be gone, or never.

// A state is the stored data of one cell.
type state struct {
	holder   string // of the lock, a token; "" for none
	try      int    // which sending of the token
	mark     string // markCool or markOpen: a lock without a holder; "" for a lease
	lockFrom int64  // from this time on the lock can have expired
	lockTo   int64  // from this time on it has expired
	entry    string // its id; "" for none
	from, to int64  // the same for the entry
}

// The prefixes of the token in a lock without a holder.
const (
	markCool = "cool:"
	markOpen = "open:"
)

// unmark splits the value of a lock.
func unmark(holder string) (mark, token string) {
	for _, mark := range []string{markCool, markOpen} {
		if token, marked := strings.CutPrefix(holder, mark); marked {
			return mark, token
		}
	}
	return "", holder
}

// A step is the input of an operation; its output is a reply, or nil.
type step struct {
	event // as sent; Verb "wipe": Redis was emptied
	began int64
	ended int64
}

// operations returns the commands about a cell in porcupine's form.
func (x *index) operations(c *cell) (all []porcupine.Operation) {
	for _, w := range x.wipes {
		all = append(all, porcupine.Operation{
			Input: step{event: event{Verb: "wipe"}, ended: math.MaxInt64},
			Call:  int64(w.from), Return: int64(w.to),
		})
	}
	seen := c.tokensSeen()
	for _, k := range c.commands {
		if k.idle || !k.replied && (k.sent.Verb == "get" || !seen[k.sent.Token] && c.leavesNoTrace(k.sent.Token)) {
			continue
		}
		op := porcupine.Operation{
			ClientId: k.sent.Proc,
			Input:    step{event: k.sent, began: k.sent.At, ended: k.untilAt},
			Call:     int64(k.sent.Seq),
			Return:   int64(min(k.until, math.MaxInt64)),
		}
		if k.replied {
			op.Output = k.end
		}
		all = append(all, op)
	}
	return all
}

// tokensSeen returns the tokens that replies name as those of the holder.
func (c *cell) tokensSeen() map[string]bool {
	seen := map[string]bool{}
	for _, k := range c.commands {
		if !k.replied {
			continue
		}
		if k.end.Status == "acquired" || k.end.Status == "held" && k.sent.Verb != "acquire" {
			seen[k.sent.Token] = true
		}
		_, token := unmark(k.end.Holder)
		seen[token] = true
	}
	return seen
}

// leavesNoTrace reports whether a lease that may or may not have been granted had no effect on
// any reply. A caller that asks for a lease while another has it gets the other's token, so no
// reply names this token. A lease that replaced a cooldown has an effect: the cooldown is over.
func (c *cell) leavesNoTrace(token string) bool {
	for _, k := range c.byToken[token] {
		switch k.sent.Verb {
		case "acquire":
			if c.mayEndCooldown(k) {
				return false
			}
		case "release":
		default:
			return false
		}
	}
	return token != ""
}

func (c *cell) mayEndCooldown(k *command) bool {
	return slices.ContainsFunc(c.commands, func(other *command) bool {
		over := other.untilAt
		if over < math.MaxInt64 {
			over += other.sent.Millis*int64(time.Millisecond) + int64(clockTick)
		}
		return other.sent.Verb == "cooldown" && !other.idle && other.sent.At <= k.untilAt && over >= k.sent.At
	})
}

// machine is the model.
var machine = porcupine.NondeterministicModel{
	Init: func() []any { return []any{state{}} },
	Step: func(s, input, output any) (next []any) {
		in := input.(step)
		reply, replied := output.(event)
		for _, before := range s.(state).now(in.began, in.ended) {
			after, answer := before.execute(in)
			if !replied {
				next = append(next, before, after)
			} else if answer.matches(reply) {
				next = append(next, after)
			}
		}
		return next
	},
	DescribeOperation: func(input, output any) string {
		in := input.(step)
		words := []string{in.Verb, in.Token, in.Mode, in.Entry, "->"}
		if reply, replied := output.(event); replied {
			words = append(words, reply.Status, reply.Holder, reply.Entry)
		}
		return strings.Join(words, " ")
	},
	DescribeState: func(s any) string { return fmt.Sprintf("%+v", s) },
}

// now returns the states that s can have when an operation is executed between two times.
func (s state) now(began, ended int64) []state {
	all := []state{s}
	if s.holder != "" && s.lockFrom <= ended {
		all = append(all, s.withoutLock())
		if s.lockTo < began {
			all = all[1:]
		}
	}
	if s.entry != "" && s.from <= ended {
		for _, each := range all {
			all = append(all, each.withoutEntry())
		}
		if s.to < began {
			all = all[len(all)/2:]
		}
	}
	return all
}

func (s state) withoutLock() state {
	s.holder, s.try, s.mark, s.lockFrom, s.lockTo = "", 0, "", 0, 0
	return s
}

func (s state) withoutEntry() state {
	s.entry, s.from, s.to = "", 0, 0
	return s
}

// lock sets the holder of the lock, and the times when the lock expires.
func (s state) lock(holder owner, mark string, in step) state {
	s.holder, s.try, s.mark = holder.token, holder.try, mark
	s.lockFrom, s.lockTo = in.life()
	return s
}

// An owner is a token in a lock, with the number of its sending: see lock_acquire.lua.
type owner struct {
	token string
	try   int
}

func (s state) owner() owner { return owner{s.holder, s.try} }

func (in step) owner() owner { return owner{in.Token, in.Try} }

// life returns the earliest and the latest expiry of what a step writes.
func (in step) life() (from, to int64) {
	millis := in.Millis * int64(time.Millisecond)
	from = in.began + millis - int64(clockTick)
	if in.ended > math.MaxInt64-millis-int64(clockTick) {
		return from, math.MaxInt64
	}
	return from, in.ended + millis + int64(clockTick)
}

// An answer is the reply to a step.
type answer struct {
	status, holder, entry string
	try                   int // of the token in the lock
	present               bool
}

func (a answer) matches(reply event) bool {
	_, holder := unmark(reply.Holder)
	return a == answer{reply.Status, holder, reply.Entry, reply.Try, reply.Present}
}

// execute does what the script of a step does.
func (s state) execute(in step) (state, answer) {
	mine := s.owner() == in.owner() && s.mark == ""
	lost, held := answer{status: "lost"}, answer{status: "held"}
	switch in.Verb {
	case "wipe":
		return state{}, answer{}
	case "get":
		return s, answer{entry: s.entry}
	case "invalidate":
		return state{}, held
	case "expire":
		return s.withoutLock().expired(), held
	case "acquire":
		return s.acquire(in)
	case "renew":
		if !mine {
			return s, lost
		}
		return s.lock(in.owner(), "", in), held
	case "store":
		if strings.TrimSuffix(s.entry, markExpired) == in.Entry {
			return s, held
		}
		if !mine {
			return s, lost
		}
		s = s.withoutLock()
		s.entry = in.Entry
		s.from, s.to = in.life()
		return s, held
	case "cooldown":
		mark := in.Mode
		if mark == "" { // older records have no mode
			mark = markCool
		}
		if s.owner() == in.owner() && s.mark == mark {
			return s, held
		}
		if !mine {
			return s, lost
		}
		return s.lock(in.owner(), mark, in), held
	case "release":
		if s.holder != in.Token || s.mark != "" { // of any sending of the acquire
			return s, lost
		}
		return s.withoutLock(), held
	}
	panic("history: a verb that the model does not know: " + in.Verb + "; teach it to protocol.go")
}

// markExpired is at the end of the id of an entry that Func.Expire has marked.
const markExpired = "!"

func (s state) expired() state {
	if s.entry != "" && !strings.HasSuffix(s.entry, markExpired) {
		s.entry += markExpired
	}
	return s
}

func (s state) acquire(in step) (state, answer) {
	present := s.entry != ""
	if s.holder == in.Token && s.mark == "" {
		if in.Try > s.try {
			s = s.lock(in.owner(), "", in)
		}
		return s, answer{status: "acquired", try: s.try, present: present}
	}
	refresh := in.Mode == "refresh"
	if !refresh && present && s.entry != in.Seen {
		return s, answer{status: "changed", entry: s.entry}
	}
	servable := present && in.Servable
	if s.holder == "" || s.mark == markCool && (refresh || !servable) || s.mark == markOpen && refresh {
		return s.lock(in.owner(), "", in), answer{status: "acquired", try: in.Try, present: present}
	}
	return s, answer{status: "held", holder: s.holder, try: s.try, present: present}
}

// orders counts the operations for which an order was searched.
type orders struct {
	ordered int // with an order
	unknown int // not decided within the time
}

func (o *orders) add(other orders) {
	o.ordered += other.ordered
	o.unknown += other.unknown
}

func (o *orders) unknownPart() float64 {
	return float64(o.unknown) / float64(max(o.ordered+o.unknown, 1))
}

// checkOrder searches for the order of a cell's operations, piece by piece, with a time limit
// for each piece. If there is none it returns the violation and porcupine's drawing of the
// longest partial order.
func (x *index) checkOrder(c *cell, most time.Duration) (found orders, broken *violation, drawing func(path string) error) {
	model := machine.ToModel()
	for _, piece := range pieces(x.operations(c)) {
		switch porcupine.CheckOperationsTimeout(model, piece, most) {
		case porcupine.Ok:
			found.ordered += len(piece)
		case porcupine.Unknown:
			found.unknown += len(piece)
		case porcupine.Illegal:
			_, info := porcupine.CheckOperationsVerbose(model, piece, most)
			drawing = func(path string) error { return porcupine.VisualizePath(model, info, path) }
			text, events := furthest(info, piece)
			return found, &violation{ruleOrder, c.name + ": " + text, events}, drawing
		}
	}
	return found, nil, nil
}

// pieces cuts a history at places with a known state. After an invalidation or a restart of Redis,
// with no other command under way, nothing is stored. The time of the search grows much faster than
// the number of operations.
func pieces(operations []porcupine.Operation) (all [][]porcupine.Operation) {
	slices.SortFunc(operations, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	from, ended := 0, int64(0) // ended: when all earlier operations had ended
	for i, o := range operations {
		_, replied := o.Output.(event)
		verb := o.Input.(step).Verb
		alone := ended < o.Call && (i+1 == len(operations) || o.Return < operations[i+1].Call)
		if alone && (verb == "wipe" || verb == "invalidate" && replied) {
			all = append(all, operations[from:i+1])
			from = i + 1
		}
		ended = max(ended, o.Return)
	}
	if from < len(operations) {
		all = append(all, operations[from:])
	}
	return all
}

// furthest returns where the longest order that was found ends, and operations near that place that
// are not in it.
func furthest(info porcupine.LinearizationInfo, operations []porcupine.Operation) (text string, events []event) {
	var longest []porcupine.Operation
	for _, orders := range info.PartialLinearizationsOperations() {
		for _, order := range orders {
			if len(order) > len(longest) {
				longest = order
			}
		}
	}
	in := map[int64]bool{}
	for _, o := range longest {
		in[o.Call] = true
	}
	const most = 5
	for _, o := range operations {
		if reply, replied := o.Output.(event); replied && !in[o.Call] && len(events) < 2*most {
			events = append(events, o.Input.(step).event, reply)
		}
	}
	for _, o := range longest[max(0, len(longest)-most):] {
		text += "\n    " + machine.DescribeOperation(o.Input, o.Output)
	}
	return fmt.Sprintf("no server could have answered like that: the longest order has %d of %d operations, ends in%s\n  and leaves out", len(longest), len(operations), text), events
}
