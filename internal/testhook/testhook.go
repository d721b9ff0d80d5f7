// Package testhook lets package fncachetest reach what package fncache does not
// export.
package testhook

import "time"

// AdvanceClock moves the server clock that a *fncache.Cache keeps. Package
// fncache sets it.
var AdvanceClock func(cache any, d time.Duration)
