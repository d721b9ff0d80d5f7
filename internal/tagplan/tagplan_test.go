package tagplan_test

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/fncache/fncache/internal/tagplan"
)

type (
	id   int64
	base struct{ TenantID string }
	Base struct{ Region string }

	query struct {
		AuthorID id
		Author   struct{ Name string }
		Base
		Deep   struct{ Inner struct{ On bool } }
		List   []int
		At     time.Time
		Note   string                `fncache:"-"`
		Ignore struct{ Name string } `fncache:"-"`
	}
	hidden struct {
		Shown  string
		hidden int
	}
	mixed struct {
		hidden
		Count int
	}
)

func (id) String() string { return "secret" }

func (h hidden) MarshalText() ([]byte, error) { return fmt.Append(nil, h.hidden), nil }

func place(i int) string { return fmt.Sprintf("parameter %d", i+2) }

func compile(templates []string, args ...any) (*tagplan.Plan, error) {
	types := make([]reflect.Type, len(args))
	for i, arg := range args {
		types[i] = reflect.TypeOf(arg)
	}
	return tagplan.Compile(templates, types, place)
}

func write(p *tagplan.Plan, args ...any) (tags []string) {
	for i := range p.Len() {
		tags = append(tags, string(p.Append(nil, i, func(param int) reflect.Value { return reflect.ValueOf(args[param]) })))
	}
	return tags
}

func TestTagsAreWrittenFromArguments(t *testing.T) {
	q := query{AuthorID: -7}
	q.Author.Name, q.Region, q.Deep.Inner.On = "Ann", "eu", true
	for _, row := range []struct {
		template string
		args     []any
		want     string
	}{
		{"books", nil, "books"},
		{"author:{0}", []any{int64(7)}, "author:7"},
		{"{0}", []any{""}, ""},
		{"{1}-{0}-{1}", []any{"a", true}, "true-a-true"},
		{"author:{0.AuthorID}", []any{q}, "author:-7"}, // its String method is not asked
		{"{0.Author.Name}/{0.Region}/{0.Deep.Inner.On}", []any{q}, "Ann/eu/true"},
		{"{0.Base.Region}", []any{q}, "eu"},
		{"{{0}}{{{0}}}", []any{uint8(255)}, "{0}{255}"},
		{"}}{{", nil, "}{"},
		{"{0} {1} {2}", []any{float32(0.1), 0.1, math.Inf(1)}, "0.1 0.1 +Inf"},
		{"a,b|c \x00 ü", nil, "a,b|c \x00 ü"},
		{"{10}", []any{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, "ten"}, "ten"},
	} {
		p, err := compile([]string{row.template}, row.args...)
		require.NoError(t, err, row.template)
		assert.Equal(t, []string{row.want}, write(p, row.args...), row.template)
	}
}

func TestTemplatesThatCannotBeWrittenAreRefused(t *testing.T) {
	q := query{}
	for _, row := range []struct {
		template string
		args     []any
		says     []string
	}{
		{"", nil, []string{"empty"}},
		{"a{", nil, []string{"no } after", "{{"}},
		{"a}", nil, []string{"no { before", "}}"}},
		{"a{}", []any{1}, []string{"{}", "position", "{0}"}},
		{"{-1}", []any{1}, []string{"position"}},
		{"{00}", []any{1}, []string{"position"}},
		{"{+0}", []any{1}, []string{"position"}},
		{"{ 0}", []any{1}, []string{"position"}},
		{"{id}", []any{1}, []string{"position"}},
		{"{99999999999999999999}", []any{1}, []string{"position"}},
		{"{0}", nil, []string{"not there", "none besides the context"}},
		{"{1}", []any{1}, []string{"not there", "{0} alone"}},
		{"{2}", []any{1, 2}, []string{"{0} to {1}"}},
		{"{0}", []any{q}, []string{"parameter 2 is of type tagplan_test.query", "AuthorID, Region"}},
		{"{0}", []any{[]int{1}}, []string{"[]int", "another parameter"}},
		{"{0}", []any{time.Time{}}, []string{"time.Time"}},
		{"{0}", []any{map[string]int{}}, []string{"map[string]int"}},
		{"{0.X}", []any{q}, []string{`no field "X"`, "AuthorID"}},
		{"{0.}", []any{q}, []string{`no field ""`}},
		{"{0.x}", []any{1}, []string{"int has no fields"}},
		{"{0.List}", []any{q}, []string{"parameter 2.List", "[]int"}},
		{"{0.At.wall}", []any{q}, []string{"parameter 2.At", "time.Time"}},
		{"{0.Note}", []any{q}, []string{"Note", "no part of the key"}},
		{"{0.Ignore.Name}", []any{q}, []string{"Ignore", "no part of the key"}},
		{"{0.TenantID}", []any{struct{ base }{}}, []string{"base", "what its methods write"}},
		{"{0.hidden}", []any{hidden{}}, []string{"what its methods write"}},
		{"{0.Shown}", []any{hidden{}}, []string{"what its methods write"}},
		{"{0.Shown}", []any{mixed{}}, []string{"what its methods write"}},
	} {
		_, err := compile([]string{row.template}, row.args...)
		require.Error(t, err, row.template)
		for _, part := range append(row.says, fmt.Sprintf("tag %q", row.template)) {
			assert.ErrorContains(t, err, part)
		}
	}
}

func TestAllFaultsComeTogether(t *testing.T) {
	_, err := compile([]string{"{", "fine", "{9}", "fine"}, 1)
	require.Error(t, err)
	var joined interface{ Unwrap() []error }
	require.True(t, errors.As(err, &joined))
	assert.Len(t, joined.Unwrap(), 3)
	assert.ErrorContains(t, err, "twice")
}

// Texts of any kind are possible in tags, if their braces are doubled.
func TestATextWithItsBracesDoubledIsWrittenAsItIs(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		text := rapid.OneOf(rapid.StringN(1, 20, -1), rapid.StringMatching(`[{}a]{1,8}`)).Draw(r, "text")
		template := strings.NewReplacer("{", "{{", "}", "}}").Replace(text)
		p, err := compile([]string{template})
		if err != nil {
			r.Fatalf("%q: %v", template, err)
		}
		if got := write(p); got[0] != text {
			r.Fatalf("%q: %q", template, got)
		}
	})
}

func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{"books", "author:{0}", "{1.AuthorID}", "{{", "}}", "{0}{1}{2.Deep.Inner.On}", "{", "{0.}", "{{{0}}}", "{0}}"} {
		f.Add(seed)
	}
	q := query{AuthorID: 5}
	args := []any{int64(7), "text", q}
	f.Fuzz(func(t *testing.T, template string) {
		p, err := compile([]string{template}, args...)
		if err != nil {
			if !strings.Contains(err.Error(), "; ") && !strings.Contains(err.Error(), "leave") {
				t.Errorf("%q: no remedy in %v", template, err)
			}
			return
		}
		first, second := write(p, args...), write(p, args...)
		if first[0] != second[0] {
			t.Errorf("%q: %q and then %q", template, first[0], second[0])
		}
		if plain := !strings.ContainsAny(template, "{}"); plain && first[0] != template {
			t.Errorf("%q was written as %q", template, first[0])
		}
	})
}
