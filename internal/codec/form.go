package codec

import (
	"fmt"
	"reflect"
)

// A Form encodes the values that pointers of one type point to. Functions of the user write and
// read the values as byte strings. A nil pointer is null, as in other types.
type Form struct {
	Name   string
	Encode func(v any) ([]byte, error)
	Decode func(body []byte, v any) error
}

// WithForms returns CBOR with forms. The function of returns the form of a pointer type, nil
// if there is none, or an error if values of the type cannot be stored. Two formats that
// WithForms returns are never equal.
func WithForms(of func(pointer reflect.Type) (*Form, error)) Format {
	return Format{&format{forms: of}}
}

// Ordered returns a format of CBOR, with forms or without, in which the pairs of maps are sorted,
// so that equal values have equal encodings as far as the methods of types allow. It is for
// comparing values, and nothing is stored in it. No two formats that Ordered returns are equal.
func (f Format) Ordered() Format { return Format{&format{forms: f.forms, order: true}} }

// form returns the form of a pointer type, or nil. It returns a panic of the function as an error.
func (f Format) form(pointer reflect.Type) (found *Form, err error) {
	if f.forms == nil {
		return nil, nil
	}
	defer func() {
		if value := recover(); value != nil {
			found, err = nil, fmt.Errorf("cannot be checked, because the Form method of the codec panicked: %s; correct the method", PanicText(value))
		}
	}()
	found, err = f.forms(pointer)
	if err == nil && found != nil && (found.Name == "" || found.Encode == nil || found.Decode == nil) {
		return nil, fmt.Errorf("the form that the codec has for it is incomplete: it needs a Name, Encode and Decode")
	}
	return found, err
}

// pointee returns the plan of the values that pointers of a type point to.
func (c *compiler) pointee(pointer reflect.Type, path string) *Plan {
	found, err := c.format.form(pointer)
	switch {
	case err != nil:
		c.refuse(pointer, path, err.Error(), "")
		return nil
	case found != nil:
		p := c.bySelf(pointer.Elem(), &pair{
			form: formUser, encodeName: found.Name, decodeName: found.Name,
			encode: found.Encode,
			decode: func(v any, b []byte) error { return found.Decode(b, v) },
		})
		p.asks = true
		return p
	default:
		return c.compile(pointer.Elem(), path)
	}
}

// isMessage reports whether t is generated from a message of Protocol Buffers.
func isMessage(t reflect.Type) bool {
	method, has := reflect.PointerTo(t).MethodByName("ProtoReflect")
	return has && !WrittenByCompiler(method)
}
