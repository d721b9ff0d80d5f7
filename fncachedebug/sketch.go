package fncachedebug

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// A sketch finds the keys that occur most often in a long sequence, in little memory. It counts
// for at most sketchSize keys. A key that is not among them takes the place of the key with the
// lowest count, and goes on counting from there. So no count is too low, and a count is too high
// by at most the lowest count.
type sketch struct{ m map[string]float64 }

const sketchSize = 64

func newSketch() *sketch { return &sketch{make(map[string]float64, sketchSize)} }

func (s *sketch) count(key string) {
	n, ok := s.m[key]
	if !ok && len(s.m) >= sketchSize {
		least, low := "", math.Inf(1)
		for k, n := range s.m {
			if n < low {
				least, low = k, n
			}
		}
		delete(s.m, least)
		n = low
	}
	s.m[key] = n + 1
}

// halfLife is how many steps it takes until a count has halved: ten minutes.
const halfLife = steps

// fade lets old counts fade by one step.
func (s *sketch) fade() {
	if s == nil {
		return
	}
	share := math.Exp2(-1.0 / halfLife)
	for k, n := range s.m {
		if s.m[k] = n * share; n < 0.5 {
			delete(s.m, k)
		}
	}
}

// shownKeys is how many keys a table shows.
const shownKeys = 10

// hot returns the keys with the highest counts. Counts that may be chance are left out.
func (s *sketch) hot() (all []hotKey) {
	if s == nil {
		return nil
	}
	low := 0.0
	if len(s.m) == sketchSize {
		low = math.Inf(1)
		for _, n := range s.m {
			low = min(low, n)
		}
	}
	for k, n := range s.m {
		if n > low {
			all = append(all, hotKey{Key: k, Lookups: uint64(math.Round(n * sampled))})
		}
	}
	slices.SortFunc(all, func(a, b hotKey) int { return cmp.Or(cmp.Compare(b.Lookups, a.Lookups), cmp.Compare(a.Key, b.Key)) })
	return all[:min(len(all), shownKeys)]
}

// A hotKey is a key that was looked up often.
type hotKey struct {
	Key     string `json:"key"`
	Lookups uint64 `json:"lookups"` // estimated
	To      string `json:"-"`
}

// A dearKey is a key whose computation took long.
type dearKey struct {
	Key  string        `json:"key"`
	Cost time.Duration `json:"cost_ns"`
	At   time.Time     `json:"at"`
	To   string        `json:"-"`
}

// dearest has the keys with the longest computations, each with its last.
type dearest []dearKey

// dearFor is how long a computation is remembered.
const dearFor = time.Hour

func (d *dearest) add(key string, cost time.Duration, now time.Time) {
	rest := slices.DeleteFunc(*d, func(k dearKey) bool { return k.Key == key || now.Sub(k.At) > dearFor })
	at, _ := slices.BinarySearchFunc(rest, cost, func(k dearKey, cost time.Duration) int { return cmp.Compare(cost, k.Cost) })
	if at < shownKeys {
		rest = slices.Insert(rest, at, dearKey{Key: key, Cost: cost, At: now})
	}
	*d = rest[:min(len(rest), shownKeys)]
}
