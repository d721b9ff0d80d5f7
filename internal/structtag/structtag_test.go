package structtag

import (
	"encoding"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type knobs struct {
	Name  string
	Life  time.Duration
	Share float64
	Most  int
	Level level
	Quiet bool
}

type level string

func (l *level) UnmarshalText(text []byte) error {
	*l = level("level " + string(text))
	return nil
}

var known = Options[knobs]{
	String("name", func(k *knobs) *string { return &k.Name }),
	Duration("life", func(k *knobs) *time.Duration { return &k.Life }),
	Fraction("share", func(k *knobs) *float64 { return &k.Share }),
	Number("most", func(k *knobs) *int { return &k.Most }),
	Text("level", func(k *knobs) encoding.TextUnmarshaler { return &k.Level }),
	Flag("quiet", func(k *knobs) *bool { return &k.Quiet }),
}

func TestATagSetsItsOptionsOverTheDefaults(t *testing.T) {
	got, err := known.Parse(" life = 1m ,share=0.5,most=7,level=high, quiet", knobs{Name: "default", Most: 1})
	require.NoError(t, err)
	assert.Equal(t, knobs{"default", time.Minute, 0.5, 7, "level high", true}, got)
}

func TestFaultsOfATagAreJoinedAndTheDefaultsComeBack(t *testing.T) {
	defaults := knobs{Name: "default"}
	for tag, want := range map[string]string{
		"life=7":              `life: "7" is not a duration`,
		"share=NaN":           `share: "NaN" is not a fraction`,
		"most=1.5":            `most: "1.5" is not a whole number`,
		"quiet=true":          "quiet takes no value",
		"name":                "name has no value",
		"lief=1s":             `unknown option "lief"; did you mean life?`,
		"other=1":             `unknown option "other"; known are name, life, share, most, level, quiet`,
		"life=1s,life=1s":     "life is given twice",
		"life=1s,":            "an option is missing before or after a comma",
		"name=new,most=x,a=1": "most: \"x\" is not a whole number; write one as in 8\nunknown option \"a\"",
	} {
		got, err := known.Parse(tag, defaults)
		require.ErrorContains(t, err, want, tag)
		assert.Equal(t, defaults, got, tag)
	}
}

type (
	base struct {
		Get func() `fncache:"a"`
		Put func() `fncache:"b"`
	}
	Other struct {
		Del func() `fncache:"c"`
	}
	service struct {
		base
		*Other
		Put     func() `fncache:"d"`
		Number  int    `fncache:"e"`
		private func() `fncache:"f"`
		Broken  func() `Fncache:"g"`
		Off     func() `fncache:"-"`
		Plain   func()
		Inner   base
		OffToo  base `fncache:"-"`
	}
)

func TestFieldsAreFoundWithThoseOfEmbeddedStructsAfterTheStructsOwn(t *testing.T) {
	svc := &service{Other: &Other{}}
	var found, faults []string
	for _, field := range Fields(reflect.ValueOf(svc).Elem(), func(v reflect.Value) bool { return v.Addr().Interface() == any(&svc.Inner.Get) }) {
		if field.Err != nil {
			faults = append(faults, field.Err.Error())
			continue
		}
		found = append(found, field.Place()+" "+field.Path+field.Name+" "+field.Tag)
		field.Value.Set(reflect.ValueOf(func() {}))
	}
	assert.Equal(t, []string{"structtag.service.Put Put d", "structtag.base.Get base.Get a", "structtag.base.Put base.Put b", "structtag.Other.Del Other.Del c"}, found)
	require.Len(t, faults, 4)
	for i, want := range []string{
		"structtag.service.Number: the field is a int, not a func",
		"structtag.service.private: the field is unexported",
		"structtag.service.Broken: no option can be read from its tag `Fncache:\"g\"`",
		"structtag.service.Inner.Put: it is tagged, and only embedded structs are entered; embed Inner",
	} {
		assert.Contains(t, faults[i], want)
	}
	assert.NotNil(t, svc.Get)
	assert.NotNil(t, svc.Del)
	assert.Nil(t, svc.private)
}

func TestTaggedFieldsOfANilEmbeddedPointerAreFaults(t *testing.T) {
	svc := &struct{ *Other }{}
	fields := Fields(reflect.ValueOf(svc).Elem(), nil)
	require.Len(t, fields, 1)
	require.ErrorContains(t, fields[0].Err, ".Other: the embedded *structtag.Other is nil, and its field Del is tagged")
}

func TestATagThatGoReadsNothingFromIsUnreadable(t *testing.T) {
	for tag, want := range map[reflect.StructTag]bool{
		`fncache:"timeout=1h"`:              false,
		`json:"x" fncache:"-"`:              false,
		`doc:"fncache: \"timeout=1h\""`:     false,
		``:                                  false,
		`json`:                              false,
		`fncache: "timeout=1h"`:             true,
		`json:"x" fncache:timeout=1h`:       true,
		`Fncache:"timeout=1h"`:              true,
		`fncache`:                           true,
		"fncache:`timeout=1h`":              true,
		`json:"x"  FNCACHE:"a" fncache:"b"`: true,
	} {
		assert.Equal(t, want, Unreadable(tag), "%s", tag)
	}
}
