package events

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestATagOvertakesWhatWasAskedForBefore(t *testing.T) {
	var told []string
	read := true
	a, b := [16]byte{1}, [16]byte{0, 2}
	e := New(Config{SpawnAsking: func(func()) {}, Tags: func(message string) ([][16]byte, bool) {
		told = append(told, message)
		return [][16]byte{a}, read
	}})
	subjects := []TagSubject{SubjectOfTag(a), SubjectOfTag(b)}
	assert.True(t, e.TagsOvertaken(subjects, e.Here(nil)), "nothing was heard yet")
	e.Leave(e.Join("ready"))
	before := e.Here(nil)
	assert.False(t, e.TagsOvertaken(subjects, before))
	e.OvertakeTags([][16]byte{b})
	assert.True(t, e.TagsOvertaken(subjects, before))
	assert.False(t, e.TagsOvertaken(subjects[:1], before), "another tag")
	assert.False(t, e.TagsOvertaken(subjects, e.Here(nil)), "asked for later")

	before = e.Here(nil)
	e.hearTags("tags 1 h a")
	assert.Equal(t, []string{"tags 1 h a"}, told)
	assert.True(t, e.TagsOvertaken(subjects[:1], before))
	assert.False(t, e.TagsOvertaken(subjects[1:], before))

	read = false
	before = e.Here(nil)
	e.hearTags("tags in a form to come")
	assert.True(t, e.TagsOvertaken(subjects[1:], before), "it may be about any tag")
	assert.False(t, e.TagsOvertaken(subjects, e.Here(nil)))
	e.End()
	assert.True(t, e.TagsOvertaken(nil, e.Here(nil)))
}
