package events

import (
	"encoding/binary"
	"strings"
	"sync/atomic"
)

// Tags have marks of their own, and not those of keys: an entry with many tags would be
// overtaken by every store.

// tagMessage is the beginning of messages about tags: see Config.Tags.
const tagMessage = "tags "

// tagSubjects is the number of marks of tags. Tags that share one overtake each other's
// entries.
const tagSubjects = 1 << 14

// A TagSubject stands for a tag. Each has a mark.
type TagSubject uint16

// SubjectOfTag returns the subject of a tag, given by its keyed hash.
func SubjectOfTag(tag [16]byte) TagSubject {
	return TagSubject(binary.BigEndian.Uint16(tag[:]) % tagSubjects)
}

// tagMarks has for each subject the place of its last invalidation.
type tagMarks struct {
	all  atomic.Uint64 // the place of the last message that could not be read, which may be about any tag
	each [tagSubjects]atomic.Uint64
}

// OvertakeTags notes that tags were invalidated or expired.
func (e *Events) OvertakeTags(tags [][16]byte) {
	e.noteTags(func(m *tagMarks, seq uint64) {
		for _, tag := range tags {
			m.each[SubjectOfTag(tag)].Store(seq)
		}
	})
}

func (e *Events) noteTags(note func(m *tagMarks, seq uint64)) {
	m := e.tags.Load()
	if m == nil {
		return // nothing was kept yet
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	seq := e.seq.Load() + 1
	note(m, seq)
	e.seq.Store(seq)
}

// hearTags handles a message about tags.
func (e *Events) hearTags(message string) {
	if e.cfg.Tags == nil {
		return
	}
	if tags, ok := e.cfg.Tags(message); ok {
		e.OvertakeTags(tags)
		return
	}
	e.noteTags(func(m *tagMarks, seq uint64) { m.all.Store(seq) })
}

func isTagMessage(message string) bool { return strings.HasPrefix(message, tagMessage) }

// TagsOvertaken reports whether one of the tags may have been invalidated or expired since p.
func (e *Events) TagsOvertaken(tags []TagSubject, p Place) bool {
	m := e.tags.Load()
	if m == nil || m.all.Load() > p.seq {
		return true // events are not recorded, or one was not understood
	}
	for _, tag := range tags {
		if m.each[tag].Load() > p.seq {
			return true
		}
	}
	return false
}
