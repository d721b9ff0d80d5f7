package shape_test

import (
	"context"
	"reflect"
	"testing"
)

// BenchmarkMakeFunc is a call of a function that reflect.MakeFunc has made, and that does nothing:
// what Wrap adds to Wrap1 before fncache does anything.
func BenchmarkMakeFunc(b *testing.B) {
	var made func(context.Context, int64) ([]int64, error)
	v := reflect.ValueOf(&made).Elem()
	out := []reflect.Value{reflect.Zero(v.Type().Out(0)), reflect.Zero(v.Type().Out(1))}
	v.Set(reflect.MakeFunc(v.Type(), func([]reflect.Value) []reflect.Value { return out }))
	b.ReportAllocs()
	for b.Loop() {
		_, _ = made(b.Context(), 1)
	}
}
