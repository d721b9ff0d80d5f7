package main

import (
	"context"
	"fmt"
	"time"

	"github.com/fncache/fncache"
)

func declared(_ context.Context, i int) (int, error) { return i, nil }

type store struct{}

func (store) Get(_ context.Context, i int) (int, error) { return i, nil }

type service struct {
	Closure func(context.Context, int) (int, error) `fncache:"timeout=1m"`
}

func main() {
	opts := fncache.Options{Timeout: time.Minute}
	for _, fn := range []func(context.Context, int) (int, error){declared, store{}.Get, func(_ context.Context, i int) (int, error) { return i, nil }} {
		show(fncache.Wrap(&fn, opts))
	}
	funcs, err := fncache.WrapStruct(&service{func(_ context.Context, i int) (int, error) { return i, nil }}, opts)
	show(funcs["Closure"], err)
}

func show(f *fncache.Func, err error) {
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(f.Name())
}
