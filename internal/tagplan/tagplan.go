// Package tagplan reads templates of tags, such as author:{0}, checks them against the
// parameters of a function, and writes the tags of a call by a plan made once.
//
// # The templates
//
//	template = part...
//	part     = text | "{" position ["." field]... "}" | "{{" | "}}"
//
// A position counts the parameters from 0 on, without the context. Fields are those of a
// struct parameter, or of a struct in it. What a position and fields name must be a boolean,
// a number that is not complex, or a string, and part of the key. {{ and }} stand for braces.
//
// A value is written by its kind, whatever methods it has: true, -7, 0.5, and strings as
// they are.
package tagplan

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/fncache/fncache/internal/keyhash"
)

// A Plan writes the tags of calls of one function.
type Plan struct{ tags []tag }

// A tag is a template: texts, each with the value that follows it.
type tag []part

type part struct {
	text  string
	param int // -1: no value follows
	path  []int
	write func(dst []byte, v reflect.Value) []byte
}

// Compile checks templates for a function with these parameters. place names one of them for
// errors. The error joins the faults of all templates.
func Compile(templates []string, params []reflect.Type, place func(int) string) (*Plan, error) {
	p := new(Plan)
	var faults []error
	for i, template := range templates {
		t, err := compile(template, params, place)
		switch {
		case err != nil:
			faults = append(faults, fmt.Errorf("tag %q: %w", template, err))
		case slices.Contains(templates[:i], template):
			faults = append(faults, fmt.Errorf("tag %q is given twice; leave one", template))
		}
		p.tags = append(p.tags, t)
	}
	return p, errors.Join(faults...)
}

// Len returns how many tags a call has.
func (p *Plan) Len() int { return len(p.tags) }

// Append appends the text of tag i of a call whose arguments value returns.
func (p *Plan) Append(dst []byte, i int, value func(param int) reflect.Value) []byte {
	for _, part := range p.tags[i] {
		dst = append(dst, part.text...)
		if part.param < 0 {
			continue
		}
		v := value(part.param)
		for _, field := range part.path {
			v = v.Field(field)
		}
		dst = part.write(dst, v)
	}
	return dst
}

func compile(template string, params []reflect.Type, place func(int) string) (t tag, err error) {
	if template == "" {
		return nil, errors.New("it is empty; write a text, or leave it out")
	}
	var text strings.Builder
	for rest := template; rest != ""; {
		brace := strings.IndexAny(rest, "{}")
		if brace < 0 {
			text.WriteString(rest)
			break
		}
		text.WriteString(rest[:brace])
		doubled := strings.HasPrefix(rest[brace+1:], rest[brace:brace+1])
		end := strings.IndexByte(rest[brace:], '}')
		switch {
		case doubled:
			text.WriteByte(rest[brace])
			rest = rest[brace+2:]
			continue
		case rest[brace] == '}':
			return nil, errors.New("a } has no { before it; write }} for a brace in the text")
		case end < 0:
			return nil, errors.New("a { has no } after it; write {{ for a brace in the text")
		}
		value, err := compileValue(rest[brace+1:brace+end], params, place)
		if err != nil {
			return nil, err
		}
		value.text = text.String()
		text.Reset()
		t = append(t, value)
		rest = rest[brace+end+1:]
	}
	if text.Len() > 0 {
		t = append(t, part{text: text.String(), param: -1})
	}
	return t, nil
}

// compileValue reads what stands in braces.
func compileValue(inner string, params []reflect.Type, place func(int) string) (p part, err error) {
	position, fields, fielded := strings.Cut(inner, ".")
	p.param, err = strconv.Atoi(position)
	if err != nil || strconv.Itoa(p.param) != position || p.param < 0 {
		return part{}, fmt.Errorf("{%s} does not begin with the position of a parameter; write {0} for the first after the context, or {{ for a brace in the text", inner)
	}
	if p.param >= len(params) {
		return part{}, fmt.Errorf("{%s} names a parameter that is not there; %s", inner, positions(len(params)))
	}
	t, where := params[p.param], place(p.param)
	for fielded {
		var name string
		name, fields, fielded = strings.Cut(fields, ".")
		field, err := fieldOf(t, name)
		if err != nil {
			return part{}, fmt.Errorf("{%s}: %s: %w; %s", inner, where, err, instead(t))
		}
		p.path = append(p.path, field.Index...)
		t, where = field.Type, where+"."+name
	}
	if p.write = writer(t.Kind()); p.write == nil {
		return part{}, fmt.Errorf("{%s}: %s is of type %v, and only booleans, numbers and strings can be in a tag; %s", inner, where, t, instead(t))
	}
	return p, nil
}

func positions(n int) string {
	switch n {
	case 0:
		return "the function has none besides the context, so its tags are plain texts"
	case 1:
		return "there is {0} alone (the context does not count)"
	default:
		return fmt.Sprintf("there are {0} to {%d} (the context does not count)", n-1)
	}
}

// fieldOf returns a field by which entries differ.
func fieldOf(t reflect.Type, name string) (field reflect.StructField, err error) {
	if t.Kind() != reflect.Struct {
		return field, fmt.Errorf("%v has no fields", t)
	}
	field, ok := t.FieldByName(name)
	if !ok || name == "_" {
		return field, fmt.Errorf("%v has no field %q", t, name)
	}
	outer := t
	for _, i := range field.Index { // of several, if it is promoted
		if keyhash.Opaque(outer) {
			return field, fmt.Errorf("%v counts by what its methods write, so its field %s may be no part of the key", outer, name)
		}
		at := outer.Field(i)
		switch {
		case !at.IsExported():
			return field, fmt.Errorf("the field %s of %v is unexported", at.Name, outer)
		case keyhash.Ignored(at):
			return field, fmt.Errorf("the field %s of %v is no part of the key, so calls that share an entry would differ in the tag", at.Name, outer)
		}
		outer = at.Type
	}
	return field, nil
}

// instead says what can be in a tag in place of a type.
func instead(t reflect.Type) string {
	var names []string
	if t.Kind() == reflect.Struct {
		for _, field := range reflect.VisibleFields(t) {
			if _, err := fieldOf(t, field.Name); err == nil && writer(field.Type.Kind()) != nil && !slices.Contains(names, field.Name) {
				names = append(names, field.Name)
			}
		}
	}
	if len(names) > 0 {
		return "name one of its fields: " + strings.Join(names, ", ")
	}
	return "name another parameter, or have the function add the tag"
}

// writer returns the function that writes values of a kind; nil if there is none.
func writer(k reflect.Kind) func(dst []byte, v reflect.Value) []byte {
	switch {
	case k == reflect.String:
		return func(dst []byte, v reflect.Value) []byte { return append(dst, v.String()...) }
	case k == reflect.Bool:
		return func(dst []byte, v reflect.Value) []byte { return strconv.AppendBool(dst, v.Bool()) }
	case k >= reflect.Int && k <= reflect.Int64:
		return func(dst []byte, v reflect.Value) []byte { return strconv.AppendInt(dst, v.Int(), 10) }
	case k >= reflect.Uint && k <= reflect.Uint64:
		return func(dst []byte, v reflect.Value) []byte { return strconv.AppendUint(dst, v.Uint(), 10) }
	case k == reflect.Float32:
		return func(dst []byte, v reflect.Value) []byte { return strconv.AppendFloat(dst, v.Float(), 'g', -1, 32) }
	case k == reflect.Float64:
		return func(dst []byte, v reflect.Value) []byte { return strconv.AppendFloat(dst, v.Float(), 'g', -1, 64) }
	default:
		return nil
	}
}
