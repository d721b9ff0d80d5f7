package fence

import (
	"errors"
	"fmt"
	"slices"
	"sync"
)

// A Tally has the tags that one run of a function collects, each with the smallest stamp that
// was handed up for it. A function that calls cached functions depends on the tags of their
// answers.
type Tally struct {
	// each has the tallies of the elements, for the run of a batch: they get all that the run
	// collects, and this one has nothing of its own.
	each []*Tally

	mu    sync.Mutex // guards the fields below
	epoch Epoch
	base  Stamp // the stamp that was captured before the function ran; Unknown if none was
	marks []Mark
	at    map[Tag]int // places in marks; nil while they are few
	// unstamped: the run used an answer without a valid stamp, so its own result has none.
	unstamped bool
	sealed    bool // the function has returned
}

// fewMarks is how many marks are searched without a map.
const fewMarks = 16

// NewTally returns a tally with the tags of the call, and the stamp of a reading that was made
// before the function runs. r is nil if there is none.
func NewTally(tags []Tag, r *Reading) *Tally {
	t := new(Tally)
	if r != nil {
		t.epoch, t.base = r.Epoch, r.Now
	}
	t.marks = make([]Mark, 0, len(tags)+4)
	for _, tag := range tags {
		t.set(tag, t.base)
	}
	return t
}

// TallyOf returns the tally of a run that computes several entries. It passes on to the tallies
// of the entries what the run collects.
func TallyOf(each []*Tally) *Tally { return &Tally{each: each} }

// set adds a tag with a stamp. mu is held, or no other goroutine has the tally.
func (t *Tally) set(tag Tag, stamp Stamp) {
	at, known := t.find(tag)
	switch {
	case known:
		t.marks[at].Stamp = min(t.marks[at].Stamp, stamp)
	case t.full(): // the others are not kept
	default:
		t.marks = append(t.marks, Mark{Tag: tag, Stamp: stamp})
		if t.at != nil {
			t.at[tag] = len(t.marks) - 1
		}
	}
}

// full reports whether there are more tags than can be stored. mu is held, or no other goroutine has
// the tally.
func (t *Tally) full() bool { return len(t.marks) > MaxMarks }

// TooMany reports whether there are more tags than can be stored. Then marks has only some of them.
func (t *Tally) TooMany() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.full()
}

func (t *Tally) find(tag Tag) (at int, known bool) {
	if len(t.marks) <= fewMarks {
		at = slices.IndexFunc(t.marks, func(m Mark) bool { return m.Tag == tag })
		return at, at >= 0
	}
	if t.at == nil {
		t.at = make(map[Tag]int, 2*len(t.marks))
		for i, m := range t.marks {
			t.at[m.Tag] = i
		}
	}
	at, known = t.at[tag]
	return at, known
}

// Add adds tags with the stamp of the run. It returns false if the function has returned.
func (t *Tally) Add(tags []Tag) bool {
	if t.each != nil {
		some := false
		for _, element := range t.each {
			some = element.Add(tags) || some
		}
		return some
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sealed {
		return false
	}
	for _, tag := range tags {
		t.set(tag, t.base)
	}
	return true
}

// A Provenance has the tags that an answer depends on, with their stamps.
type Provenance struct {
	Epoch Epoch
	Marks []Mark
	// At is the stamp of all marks: the c of the reading by which the answer was found valid.
	// If it is Unknown, each mark has its own stamp.
	At Stamp
	// None: it is not known when the answer was right.
	None bool
}

// Inherit adds the tags that an answer depends on. It can only lower the stamps of tags that
// are already there.
func (t *Tally) Inherit(p Provenance) {
	for _, element := range t.each {
		element.Inherit(p)
	}
	if t.each != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sealed {
		return
	}
	// All parts of a value must be of one epoch (X4).
	t.unstamped = t.unstamped || p.None || p.Epoch != t.epoch
	for _, m := range p.Marks {
		stamp := m.Stamp
		if p.At != Unknown {
			stamp = p.At
		}
		t.set(m.Tag, min(stamp, t.base))
	}
}

// Adopt adds the tags of an entry that is kept, with the stamp of the run. It may be called after
// the run.
func (t *Tally) Adopt(marks []Mark) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range marks {
		t.set(m.Tag, t.base)
	}
}

// Seal ends the collecting, because the function has returned (W7).
func (t *Tally) Seal() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sealed = true
}

// Provenance returns the tags that a run depends on, after the run has ended. If the function has
// not returned, it may still add tags.
func (t *Tally) Provenance() Provenance {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Provenance{Epoch: t.epoch, Marks: t.marks, None: t.unstamped || t.base == Unknown}
}

// ErrManyTags is an error of [Tally.Block]: a run has collected more tags than can be stored.
var ErrManyTags = fmt.Errorf("it has more than %d tags; use fewer and broader tags", MaxMarks-1)

var (
	errNoStamp   = errors.New("the fence of tags could not be read before the function ran; the log says why, try again when Redis answers")
	errUnstamped = errors.New("the function used the answer of another cached function, and it is not known when that answer was right, such as while Redis is away; try again")
)

// Block returns the tags for the entry of the run. The error says why the result cannot be
// stored.
func (t *Tally) Block() (*Block, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.base == Unknown:
		return nil, errNoStamp
	case t.unstamped:
		return nil, errUnstamped
	case t.full():
		return nil, ErrManyTags
	}
	return &Block{Epoch: t.epoch, Marks: slices.Clone(t.marks)}, nil
}

// Snapshot returns the epoch, and the marks that were collected so far.
func (t *Tally) Snapshot() (epoch Epoch, marks []Mark) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.epoch, slices.Clone(t.marks)
}

// OvertakenBy reports whether the run has one of the tags of an invalidation with an older
// stamp.
func (t *Tally) OvertakenBy(m Message) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, tag := range m.Tags {
		if at, known := t.find(tag); known && m.Stamp > t.marks[at].Stamp {
			return true
		}
	}
	return false
}

// TagsOf returns the tags of marks.
func TagsOf(marks []Mark) []Tag {
	tags := make([]Tag, len(marks))
	for i := range marks {
		tags[i] = marks[i].Tag
	}
	return tags
}
