package keyhash

import (
	"fmt"
	"reflect"
	"strings"
)

// Form returns the canonical form of a type, as far as it is known without a value. Types with
// the same Form hash their values alike. With names set, it also has the names of types and
// fields, which may determine the meaning of values.
func Form(t reflect.Type, names bool) string {
	var b strings.Builder
	writeForm(&b, t, names)
	return b.String()
}

func writeForm(b *strings.Builder, t reflect.Type, names bool) {
	if names {
		fmt.Fprintf(b, "%q.%s ", t.PkgPath(), t.Name())
	}
	if width := widthOf(t); width > 0 {
		kind := "int" // signed or not
		if k := t.Kind(); k == reflect.Bool || k == reflect.Float32 || k == reflect.Float64 {
			kind = k.String()
		} else if names {
			kind = k.String() + " "
		}
		fmt.Fprintf(b, "%s%d", kind, width)
		return
	}
	switch kind := t.Kind(); {
	case Opaque(t):
		fmt.Fprintf(b, "%q.%s.%v", t.PkgPath(), t.Name(), EncodingOf(t))
	case kind == reflect.String, (kind == reflect.Slice || kind == reflect.Array) && t.Elem().Kind() == reflect.Uint8:
		b.WriteString("string")
		if names && kind != reflect.String && t.Elem().PkgPath() != "" {
			fmt.Fprintf(b, " of %q.%s ", t.Elem().PkgPath(), t.Elem().Name())
		}
		if kind == reflect.Array {
			fmt.Fprintf(b, "%d", t.Len())
		}
	case kind == reflect.Slice:
		b.WriteString("list(")
		writeForm(b, t.Elem(), names)
		b.WriteString(")")
	case kind == reflect.Array:
		fmt.Fprintf(b, "list%d(", t.Len())
		writeForm(b, t.Elem(), names)
		b.WriteString(")")
	case kind == reflect.Map:
		b.WriteString("map(")
		writeForm(b, t.Key(), names)
		b.WriteString(" ")
		writeForm(b, t.Elem(), names)
		b.WriteString(")")
	case t == timeType:
		b.WriteString("time")
	default:
		writeStructForm(b, t, names)
	}
}

func writeStructForm(b *strings.Builder, t reflect.Type, names bool) {
	b.WriteString("struct(")
	for i, field := range Fields(t) {
		if i > 0 {
			b.WriteString(" ")
		}
		if names {
			fmt.Fprintf(b, "%q %t ", field.Name, field.Anonymous)
		}
		writeForm(b, field.Type, names)
	}
	b.WriteString(")")
}
