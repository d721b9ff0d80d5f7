package fence

import (
	"slices"
	"sync"
	"sync/atomic"
)

// Extras remembers, for each key, the tags of the last seen entry that its call does not have. The
// next lookup of the key asks the fence for these tags too. The zero value remembers nothing.
// Extras is safe for concurrent use.
type Extras struct {
	n  atomic.Int64 // how many keys are in of
	mu sync.Mutex   // guards the field below, and writes to n
	of map[string][]Tag
}

// maxExtras bounds the number of keys. Beyond it, any key is forgotten for a new one.
const maxExtras = 4096

// Beside returns tags, and the tags that are remembered for the key.
func (x *Extras) Beside(tags []Tag, key string) []Tag {
	if x.n.Load() == 0 {
		return tags
	}
	x.mu.Lock()
	extra := x.of[key]
	x.mu.Unlock()
	if extra == nil {
		return tags
	}
	return append(slices.Clip(tags), extra...)
}

// Note remembers which of the marks of an entry are not among the tags of its call.
func (x *Extras) Note(key string, tags []Tag, marks []Mark) {
	var extra []Tag
	if len(marks) > len(tags) {
		for _, m := range marks {
			if !slices.Contains(tags, m.Tag) {
				extra = append(extra, m.Tag)
			}
		}
	}
	if extra == nil && x.n.Load() == 0 {
		return
	}
	x.mu.Lock()
	defer func() {
		x.n.Store(int64(len(x.of)))
		x.mu.Unlock()
	}()
	if extra == nil {
		delete(x.of, key)
		return
	}
	if x.of == nil {
		x.of = make(map[string][]Tag)
	}
	if _, known := x.of[key]; !known && len(x.of) >= maxExtras {
		for other := range x.of { // any key
			delete(x.of, other)
			break
		}
	}
	x.of[key] = extra
}
