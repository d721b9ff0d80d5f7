package fence

import (
	"fmt"
	"strings"
	"sync/atomic"
)

// A Reading is the content of a fence at one moment.
type Reading struct {
	Epoch Epoch // zero: there was no fence, or it could not be read
	Now   Stamp // c
	Floor Stamp // f
	Seen  Stamp // the largest stamp that was seen before the fence was asked; the caller sets it
	tags  []Tag // the requested tags
	hard  []Stamp
	soft  []Stamp
}

// WentBack reports whether the reading is older than what was seen before it was asked for: the
// fence went back, or a replica is late (W10 of docs/protocol.md).
func (r *Reading) WentBack() bool { return r.Now < r.Seen }

// Fields are the names of the fields that every reading begins with. The fields of the tags
// follow.
var Fields = [...]string{"e", "c", "f"}

// ParseReading parses the answer of HMGET, or of the script that reads: the values of Fields, and
// then those of the tags.
func ParseReading(answer any, tags []Tag) (r Reading, err error) {
	values, _ := answer.([]any)
	if len(values) < len(Fields)+len(tags) {
		return Reading{}, fmt.Errorf("unexpected reading of the fence: %d values for %d tags; look for a proxy or a server that changes replies", len(values), len(tags))
	}
	return ReadingOf(func(i int) any { return values[i] }, tags), nil
}

// ReadingOf is like ParseReading for values that are found one by one.
func ReadingOf(value func(i int) any, tags []Tag) (r Reading) {
	texts := [len(Fields)]string{}
	for i := range texts {
		texts[i], _ = value(i).(string)
	}
	epoch, isEpoch := ParseEpoch(texts[0])
	now, isNow := ParseStamp(texts[1])
	floor, isFloor := ParseStamp(texts[2])
	if !isEpoch || !isNow || !isFloor || floor > now {
		return Reading{}
	}
	stamps := make([]Stamp, 2*len(tags))
	r = Reading{Epoch: epoch, Now: now, Floor: floor, tags: tags, hard: stamps[:len(tags)], soft: stamps[len(tags):]}
	for i := range tags {
		r.hard[i], r.soft[i] = parseField(value(len(Fields) + i))
	}
	return r
}

// parseField parses the field of a tag. A field that cannot be parsed overtakes every entry.
func parseField(value any) (hard, soft Stamp) {
	if value == nil {
		return 0, 0
	}
	text, _ := value.(string)
	first, second, _ := strings.Cut(text, " ")
	hard, isHard := parseStampOrNone(first)
	soft, isSoft := parseStampOrNone(second)
	if !isHard || !isSoft {
		return Latest, Latest
	}
	return hard, soft
}

func parseStampOrNone(text string) (Stamp, bool) {
	if text == "0" {
		return 0, true
	}
	return ParseStamp(text)
}

// A Verdict says how an entry may be used according to a reading. Larger verdicts are worse.
type Verdict uint8

const (
	Valid   Verdict = iota
	Expired         // stale at most
	Newer           // a stamp of the entry is larger than the present one: note it as seen, and read again by the script
	Unread          // the reading lacks a tag of the entry: read again, with all its tags
	Invalid
)

// Judge judges an entry by its epoch and marks.
func (r *Reading) Judge(epoch Epoch, marks []Mark) Verdict {
	if r.Epoch == (Epoch{}) || r.Epoch != epoch {
		return Invalid
	}
	worst := Valid
	for i := range marks {
		worst = max(worst, r.judge(i, &marks[i]))
	}
	return worst
}

func (r *Reading) judge(i int, m *Mark) Verdict {
	at := r.find(i, m.Tag)
	switch {
	case m.Stamp < r.Floor:
		return Invalid
	case at >= 0 && r.hard[at] > m.Stamp:
		return Invalid
	case at < 0 && r.Now > m.Stamp:
		return Unread
	case m.Stamp > r.Now:
		return Newer
	case at >= 0 && r.soft[at] > m.Stamp:
		return Expired
	default:
		return Valid
	}
}

// find returns the index of a tag in the reading, or -1 if it was not requested. guess is mostly
// right, because tags are mostly requested in the order of the entry.
func (r *Reading) find(guess int, t Tag) int {
	if guess < len(r.tags) && r.tags[guess] == t {
		return guess
	}
	for i := range r.tags {
		if r.tags[i] == t {
			return i
		}
	}
	return -1
}

// A Seen has the largest stamp that was seen, of any epoch. It shows when a fence went back,
// because each epoch begins above what its maker has seen. The zero value has seen nothing. A Seen
// is safe for concurrent use.
type Seen struct{ largest atomic.Uint64 }

// maxSeen is the largest stamp that is remembered. The server's time reaches it in the year
// 2279. A larger stamp is damaged, and each new epoch would have to begin above it.
const maxSeen Stamp = 1e16 - 1

// Note notes a stamp. It ignores one above maxSeen.
func (s *Seen) Note(now Stamp) {
	if now > maxSeen {
		return
	}
	for was := s.largest.Load(); uint64(now) > was; was = s.largest.Load() {
		if s.largest.CompareAndSwap(was, uint64(now)) {
			return
		}
	}
}

// Largest returns the largest stamp that was noted.
func (s *Seen) Largest() Stamp { return Stamp(s.largest.Load()) }
