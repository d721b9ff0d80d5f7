package fncachedebug_test

import (
	"net/http"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/fncachedebug"
)

func ExampleHandler() {
	mux := http.NewServeMux()
	cache := fncache.Default()

	mux.Handle("/debug/fncache", fncachedebug.Handler(cache))
}

func ExampleNew() {
	mux := http.NewServeMux()
	cache := fncache.Default()
	var isOnCall func(*http.Request) bool

	mux.Handle("/debug/fncache", fncachedebug.New(fncachedebug.Options{
		Caches: []*fncache.Cache{cache},
		Authorize: func(r *http.Request, a fncachedebug.Action) bool {
			return isOnCall(r) && a.Kind != fncachedebug.Clear
		},
	}))
}
