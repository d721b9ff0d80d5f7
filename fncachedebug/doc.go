// Package fncachedebug shows in a browser what the caches of this process do. Mount it beside
// net/http/pprof:
//
//	mux.Handle("/debug/fncache", fncachedebug.Handler(cache))
//
// The pages are: what is going on now, with a table of the functions; a function, with its options,
// its last ten minutes, its hottest and most expensive keys and its errors; and a key, with its
// age, tags and lease. Add format=json to the query of a page to get the same data as JSON.
//
// The pages show the names of functions and hosts, keys and types of errors. Arguments are hashed
// in keys. Values and the texts of errors are hidden unless [Options].ShowValues is set. Pages
// change nothing unless [Options].Authorize is set. The handler does not ask who reads: mount it
// where only your team can reach it, as for net/http/pprof.
package fncachedebug
