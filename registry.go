package fncache

import (
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/fncache/fncache/internal/keyhash"
)

// names are the wrapped functions of this process.
var names registry

// A registry knows the wrapped functions by prefix and name, and the caches that each
// uses. So two different functions never share entries, and an invalidation reaches
// whatever this process has of an entry.
//
// A function has a user for each cache on which it has been called or wrapped. One of
// the default cache has a user for the cache nil too, because the cache may not exist
// yet when it is wrapped.
type registry struct {
	mu sync.Mutex // guards the field below
	m  map[string][]user
}

// A keyspace is where a cache keeps its entries: in two with equal ones the keys of
// one function for the same arguments differ in the signature alone. It is zero for
// the cache nil.
type keyspace struct {
	client    any // a redis.UniversalClient, or what stands for it
	namespace string
	keys      keyhash.Keys // of the hashes of arguments
}

func newKeyspace(c *Cache) keyspace {
	s := keyspace{c.cfg.Redis, c.cfg.Namespace, *c.hashing}
	if !reflect.ValueOf(s.client).Comparable() {
		s.client = c // nobody can say which clients are the same
	}
	return s
}

// A user is a function with a cache that it uses, nil for the default one. It is here
// until the function is unwrapped or the cache is closed.
type user struct {
	fn     *Func
	cache  *Cache
	suffix string // of the keys that the function has on the cache
	// moved: the function has another default cache now. It has no claim to its name
	// here any more, but calls may still be under way, and it may come back to what
	// the near cache keeps.
	moved bool
}

func newUser(f *Func, c *Cache) user {
	u := user{fn: f, cache: c}
	if c != nil {
		u.suffix = entrySuffix(c.coder.fingerprint(f))
	}
	return u
}

func (u user) space() keyspace {
	if u.cache == nil {
		return keyspace{}
	}
	return u.cache.space
}

// add takes f in, or says why its name is another function's. A closed cache has
// nobody here: its functions share nothing any more.
func (r *registry) add(f *Func, c *Cache) error {
	mine := newUser(f, c)
	r.mu.Lock()
	defer r.mu.Unlock()
	if c != nil && c.closed() {
		return nil
	}
	known := -1
	for i, other := range r.m[f.Name()] {
		switch {
		case other.space() != mine.space():
		case other.fn == f && other.cache == c:
			known = i
		case other.fn != f && !other.moved:
			if err := f.conflict(other.fn); err != nil {
				return err
			}
		}
	}
	if known >= 0 {
		r.m[f.Name()][known].moved = false
		return nil
	}
	if r.m == nil {
		r.m = make(map[string][]user)
	}
	r.m[f.Name()] = append(r.m[f.Name()], mine)
	return nil
}

// move notes that f has left the default cache c for another: its name is free there.
func (r *registry) move(f *Func, c *Cache) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, u := range r.m[f.Name()] {
		if u.fn == f && u.cache == c {
			r.m[f.Name()][i].moved = true
		}
	}
}

// remove frees the names that f has, whatever the cache.
func (r *registry) remove(f *Func) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(f.Name(), func(u user) bool { return u.fn == f })
}

// forget frees the names of all functions of a cache that is closed, and the cache
// from them.
func (r *registry) forget(c *Cache) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name := range r.m {
		r.drop(name, func(u user) bool {
			if u.cache == c {
				u.fn.unbind(c)
			}
			return u.cache == c
		})
	}
}

// drop takes out the users that are gone. mu is held.
func (r *registry) drop(name string, gone func(user) bool) {
	rest := slices.DeleteFunc(r.m[name], gone)
	if len(rest) == 0 {
		delete(r.m, name)
		return
	}
	r.m[name] = rest
}

// A holding is what one function has of an entry on one cache.
type holding struct {
	cache *Cache
	flightKey
}

// holdings returns what this process may have of the entry that f has under a key on
// the cache c: in every function that has or had its name there, by every cache, under
// every signature.
func (r *registry) holdings(f *Func, c *Cache, key string) []holding {
	all := []holding{{c, flightKey{f, key}}}
	base, _, _ := strings.Cut(key, "}")
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, u := range r.m[f.Name()] {
		if u.cache != nil && u.space() == c.space && (u.fn != f || u.cache != c) {
			all = append(all, holding{u.cache, flightKey{u.fn, base + u.suffix}})
		}
	}
	return all
}
