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

// A Func is all that a function has of the near cache. All methods are safe for concurrent
// use.
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

// textSeed keeps callers who choose arguments from choosing which collide.
var textSeed = maphash.MakeSeed()

// hash returns where an entry is kept. Two keys that share it keep each other out.
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

// Near hits are so fast that counting them in one place would be the slowest
// part, where many cores do it at once.
const stripes = 8

type stripe struct {
	hits  atomic.Uint64
	saved atomic.Int64
	_     [112]byte // a pair of cache lines each, which processors fetch together
}

// Count counts a hit that saved a cost. It does so on a stripe that goroutines have more or
// less for themselves: it is chosen by where their stacks are.
func (f *Func) Count(cost time.Duration) {
	var here byte
	stripe := &f.hits[(uintptr(unsafe.Pointer(&here))>>12)%stripes]
	stripe.hits.Add(1)
	stripe.saved.Add(int64(cost))
}

// Counted returns how many hits were counted, and the time they saved. f may be nil.
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
