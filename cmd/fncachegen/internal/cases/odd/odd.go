// Package odd has interfaces with names and types that are hard on a generator.
package odd

import (
	"context"
	"text/template"
	tm "time"

	htmltemplate "html/template"

	"github.com/fncache/fncache"
)

//go:generate go run ../../.. -type Odd,Alias -output odd_fncache.go
//go:generate go run ../../.. -type small

// These collide with the names of imports.
type (
	errors   struct{ A int }
	context2 struct{ A int }
)

// Odd has them all.
type Odd interface {
	Unnamed(context.Context, int, string) (int, error)
	Blank(_ context.Context, _ int, p2 string) (int, error)
	Receiver(c int, fncache string) (_ errors)
	Shadow(ctx context.Context, string int, int string, error bool) (string2 int, err error)
	Prefix() int
	next() int
	funcs(funcs int) int
	Late(id int, ctx context.Context) (int, error)
	Templates(a template.FuncMap, b htmltemplate.HTML) int
	Times(ctx context.Context, at tm.Time, spans map[string][]tm.Duration) (struct {
		A tm.Month `json:"a"`
	}, error)
	Func(f func(int) string) int
	Chan() <-chan int
	Any(ctx context.Context, v any) (any, error)
	AnySlice(ctx context.Context) ([]any, error)
	Pointer(ctx context.Context, id int) (*context2, error)
	Four(ctx context.Context, a, b, c, d int) (int, error)
	Two(ctx context.Context, a, b int) (int, error)
	Multi(ctx context.Context, a int) (int, string, error)
	NoError(ctx context.Context, a int) int
	Handle() *fncache.Func
}

// Alias names an interface of another package, through an interface of this package.
type Alias = inner

type inner interface {
	Get(ctx context.Context, k string) (string, error)
}

type small interface {
	one(ctx context.Context, id int) (int, error)
}
