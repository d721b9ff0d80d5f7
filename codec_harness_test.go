package fncache

import (
	"fmt"
	"reflect"

	"github.com/fncache/fncache/internal/codec"
	"github.com/fncache/fncache/internal/shape"
	"github.com/fncache/fncache/internal/signature"
)

// encodeResults and decodeResults are the codec as tests of it see it: values of
// any types.

// cborCoder is what a cache has by default.
var cborCoder = newCoder(&Config{Codec: CBOR{}, CompressOver: DefaultCompressOver})

func encodeResults(dst []byte, results []reflect.Value) ([]byte, error) {
	from := make([]any, len(results))
	for i, v := range results {
		if !v.CanAddr() {
			fresh := reflect.New(v.Type()).Elem()
			fresh.Set(v)
			v = fresh
		}
		from[i] = v.Addr().Interface()
	}
	return encodeBy(cborCoder, dst, from)
}

func decodeResults(body []byte, types []reflect.Type) ([]reflect.Value, error) {
	plans := codec.CompileResults(types, false)
	if err := plans.Check(codec.CBOR); err != nil {
		return nil, err
	}
	sig := &signature.Signature{Results: types, Encoding: plans}
	f := &Func{sig: sig, plans: shape.Compile(sig)}
	f.shape, _ = reflectedShape(f)
	r, err := f.decode(cborCoder, body)
	if err != nil {
		return nil, err
	}
	var values []reflect.Value
	for _, at := range r.Pointers() {
		values = append(values, reflect.ValueOf(at).Elem())
	}
	return values, nil
}

// encodeBy and decodeBy are a coder as tests see it: pointers to results of any types,
// which are wrapped without loss.

func encodeBy(c *coder, dst []byte, from []any) ([]byte, error) {
	plans, err := plansOf(from)
	if err != nil {
		return nil, err
	}
	return c.encode(dst, plans, from)
}

func decodeBy(c *coder, body []byte, into []any) error {
	plans, err := plansOf(into)
	if err != nil {
		return err
	}
	return c.decode(body, plans, into)
}

func plansOf(pointers []any) (*codec.Results, error) {
	var list []reflect.Type
	for _, pointer := range pointers {
		list = append(list, reflect.TypeOf(pointer).Elem())
	}
	plans := codec.CompileResults(list, false)
	if err := plans.Check(codec.CBOR); err != nil {
		return nil, fmt.Errorf("wrap: %w", err)
	}
	return plans, nil
}

// types are the types of a struct's fields: a list of results.
func types[T any]() (list []reflect.Type) {
	for field := range reflect.TypeFor[T]().Fields() {
		list = append(list, field.Type)
	}
	return list
}

func values(results []reflect.Value) (list []any) {
	for _, v := range results {
		list = append(list, v.Interface())
	}
	return list
}

// DecodeBy decodes the body of an entry by a codec, as a cache does.
func DecodeBy(c Codec, body []byte, into []any) error {
	return decodeBy(newCoder(&Config{Codec: c}), body, into)
}
