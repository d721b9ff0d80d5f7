package near

import (
	"hash/maphash"
	"math/bits"
	"math/rand/v2"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/fncache/fncache/internal/shape"
)

// A Func has the near cache's state of one function. All methods are safe for concurrent use.
type Func struct {
	wide bool // the arguments take more than two numbers
	seed [4]uint64
	hits [stripes]stripe
}

// NewFunc returns the Func of a function with these plans.
func NewFunc(plans *shape.Plans) *Func {
	return &Func{
		wide: plans.IsWide(),
		seed: [4]uint64{rand.Uint64(), rand.Uint64(), rand.Uint64(), rand.Uint64()},
	}
}

// textSeed is secret, so that callers cannot choose arguments that collide.
var textSeed = maphash.MakeSeed()

// hash returns the key of an entry in the store. Of two arguments with the same hash only one
// can be kept.
func (f *Func) hash(key *shape.Plain) uint64 {
	h := mix(key.N[0]^f.seed[0], key.N[1]^f.seed[1])
	if f.wide {
		h = mix(h^key.N[2]^f.seed[2], key.N[3]^f.seed[3])
	}
	for i := range key.S {
		if s := key.S[i]; s != "" {
			h = mix(h+uint64(i), maphash.String(textSeed, s))
		}
	}
	return h
}

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// Near hits are counted in several places: with many cores, one shared counter would take longer
// than the rest of a hit.
const stripes = 8

type stripe struct {
	hits  atomic.Uint64
	saved atomic.Int64
	_     [112]byte // a stripe fills two cache lines, because processors fetch them in pairs
}

// Count counts a hit that saved a cost.
func (f *Func) Count(cost time.Duration) { f.CountMany(1, cost) }

// CountMany counts hits that together saved a cost. The address of the goroutine's stack chooses
// the stripe, so goroutines rarely share one.
func (f *Func) CountMany(hits int, saved time.Duration) {
	var here byte
	stripe := &f.hits[(uintptr(unsafe.Pointer(&here))>>12)%stripes]
	stripe.hits.Add(uint64(hits))
	stripe.saved.Add(int64(saved))
}

// Counted returns the number of hits, and the time that they saved. f may be nil.
func (f *Func) Counted() (hits uint64, saved time.Duration) {
	if f == nil {
		return 0, 0
	}
	for i := range f.hits {
		hits += f.hits[i].hits.Load()
		saved += time.Duration(f.hits[i].saved.Load())
	}
	return hits, saved
}
