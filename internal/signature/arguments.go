package signature

import (
	"context"
	"fmt"
	"math"
	"reflect"
)

// Arguments converts the arguments of a handle's method to the arguments of a call. They are given
// without the context. Variadic arguments are given as in a call, or as their slice. Values are
// converted if nothing is lost. The error does not quote them.
func (s *Signature) Arguments(args []any) ([]reflect.Value, error) {
	fixed := len(s.Params)
	if s.Variadic {
		fixed--
	}
	if len(args) < fixed || len(args) > fixed && !s.Variadic {
		return nil, s.wrongCount(len(args), fixed)
	}
	values := make([]reflect.Value, len(s.Params))
	for i, arg := range args[:fixed] {
		v, ok := lossless(reflect.ValueOf(arg), s.Params[i])
		if !ok {
			return nil, s.wrongType(i, arg, s.Params[i])
		}
		values[i] = v
	}
	if !s.Variadic {
		return values, nil
	}
	rest, err := s.pack(args[fixed:], fixed)
	values[fixed] = rest
	return values, err
}

// pack makes the slice of the variadic arguments. first is the position of the first of them.
func (s *Signature) pack(args []any, first int) (reflect.Value, error) {
	t := s.Params[first]
	if len(args) == 1 && args[0] != nil && reflect.TypeOf(args[0]).AssignableTo(t) {
		return reflect.ValueOf(args[0]).Convert(t), nil
	}
	slice := reflect.MakeSlice(t, 0, len(args))
	for i, arg := range args {
		v, ok := lossless(reflect.ValueOf(arg), t.Elem())
		if !ok {
			return slice, s.wrongType(first+i, arg, t.Elem())
		}
		slice = reflect.Append(slice, v)
	}
	return slice, nil
}

func (s *Signature) wrongCount(given, fixed int) error {
	want, hint := fmt.Sprint(fixed), ""
	if s.Variadic {
		want = "at least " + want
	}
	if s.HasContext {
		hint = ", without the context"
	}
	return fmt.Errorf("%d arguments given, %s wanted%s: the function is %v", given, want, hint, s)
}

func (s *Signature) wrongType(i int, arg any, want reflect.Type) error {
	if _, isCtx := arg.(context.Context); isCtx && s.HasContext {
		return fmt.Errorf("argument %d is a context; leave it out: the function is %v", i+1, s)
	}
	given := "nil"
	if arg != nil {
		given = reflect.TypeOf(arg).String()
	}
	return fmt.Errorf("argument %d, of type %s, does not convert to %v without loss: the function is %v", i+1, given, want, s)
}

// lossless converts v to t if its value stays the same: to another name of the type, or to another
// kind of number that can hold it.
func lossless(v reflect.Value, t reflect.Type) (reflect.Value, bool) {
	switch {
	case !v.IsValid(): // a nil without a type
		nilable := t.Kind() == reflect.Slice || t.Kind() == reflect.Map
		return reflect.Zero(t), nilable
	case v.Type() == t:
		return v, true
	case IsNumber(v.Kind()) && IsNumber(t.Kind()):
		return losslessNumber(v, t)
	case v.Kind() == t.Kind() && v.CanConvert(t):
		return v.Convert(t), true
	default:
		return v, false
	}
}

// IsNumber reports whether a kind is that of an integer or a float.
func IsNumber(k reflect.Kind) bool {
	return k >= reflect.Int && k <= reflect.Float64 && k != reflect.Uintptr
}

// losslessNumber converts in both directions and compares. It also checks the sign, because the
// bits of a negative integer fit in an unsigned one and come back. Between floats and integers it
// accepts only the range in which floats are exact, because beyond the range of the integer the
// result depends on the processor.
func losslessNumber(v reflect.Value, t reflect.Type) (reflect.Value, bool) {
	there := v.Convert(t)
	if v.CanFloat() && math.IsNaN(v.Float()) {
		return there, there.CanFloat()
	}
	if v.CanFloat() != there.CanFloat() {
		float := v
		if there.CanFloat() {
			float = there
		}
		if math.Abs(float.Float()) > 1<<53 {
			return there, false
		}
	}
	return there, there.Convert(v.Type()).Equal(v) && negative(there) == negative(v)
}

func negative(v reflect.Value) bool {
	switch {
	case v.CanInt():
		return v.Int() < 0
	case v.CanFloat():
		return v.Float() < 0
	default:
		return false
	}
}
