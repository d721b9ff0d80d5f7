package codec

import (
	"fmt"
	"reflect"
)

// A Form is how what pointers of one type point to is encoded: as a byte string that
// functions of the user's write and read. A nil pointer is null, as in other types.
type Form struct {
	Name   string
	Encode func(v any) ([]byte, error)
	Decode func(body []byte, v any) error
}

// WithForms returns CBOR with forms for the types of pointers for which of returns one. It
// returns nil for a type that has none, and an error for one whose values cannot be stored.
// Each format that WithForms returns is another one.
func WithForms(of func(pointer reflect.Type) (*Form, error)) Format {
	return Format{&format{forms: of}}
}

// form returns the form of a pointer type, or nil. A panic of the user's is an error.
func (f Format) form(pointer reflect.Type) (found *Form, err error) {
	if f.forms == nil {
		return nil, nil
	}
	defer func() {
		if value := recover(); value != nil {
			found, err = nil, fmt.Errorf("the codec cannot tell whether it has a form for it: %s", PanicText(value))
		}
	}()
	found, err = f.forms(pointer)
	if err == nil && found != nil && (found.Name == "" || found.Encode == nil || found.Decode == nil) {
		return nil, fmt.Errorf("the form that the codec has for it is incomplete: it needs a Name, Encode and Decode")
	}
	return found, err
}

// pointee returns the plan of what pointers of a type point to.
func (c *compiler) pointee(pointer reflect.Type, path string) *Plan {
	found, err := c.format.form(pointer)
	switch {
	case err != nil:
		c.refuse(pointer, path, err.Error(), "")
		return nil
	case found != nil:
		return c.bySelf(pointer.Elem(), &pair{
			form: formUser, encodeName: found.Name, decodeName: found.Name,
			encode: found.Encode,
			decode: func(v any, b []byte) error { return found.Decode(b, v) },
		})
	default:
		return c.compile(pointer.Elem(), path)
	}
}

// isMessage reports whether t is generated from a message of Protocol Buffers.
func isMessage(t reflect.Type) bool {
	method, has := reflect.PointerTo(t).MethodByName("ProtoReflect")
	return has && !WrittenByCompiler(method)
}
