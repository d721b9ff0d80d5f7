package main

import (
	"fmt"
	"time"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/bench/internal/link"
	"github.com/fncache/fncache/bench/internal/server"
	"github.com/fncache/fncache/internal/child"
)

// A size is how large the loads are.
type size struct {
	coldKeys    int
	coldWorkers []int
	burst       int
	hits        int // of ten numbers
	largeHits   int // of largeNumbers
	fewKeys     int
	fewWorkers  []int
	slowValue   int // numbers of the large value
	slowBeside  int // keys beside it
	givers      int
	slowKeys    int
	slowLength  time.Duration // of the load on a slow Redis
	hold        time.Duration // for which the program's own commands hold the pool
	limit       time.Duration // limit of a load that does not end
	conditions  []condition
	timed       bool // times are judged
}

func fullSize() size {
	return size{
		coldKeys: 10_000, coldWorkers: []int{200, 2_000, 5_000},
		burst: 5_000, hits: 30_000, largeHits: 3_000,
		fewKeys: 300, fewWorkers: []int{1, 4, 16, 64},
		slowValue: 8 << 20 / cborNumber, slowBeside: 200,
		givers:   20_000,
		slowKeys: 3_000, slowLength: 8 * time.Second,
		hold: 3 * time.Second, limit: 15 * time.Second,
		conditions: []condition{
			idle,
			{name: "busy loop", busy: true},
			{name: "one core", oneCore: true},
			{name: "one core and busy loop", oneCore: true, busy: true},
		},
		timed: true,
	}
}

func quickSize() size {
	return size{
		coldKeys: 500, coldWorkers: []int{100, 500},
		burst: 500, hits: 2_000, largeHits: 100,
		fewKeys: 50, fewWorkers: []int{1, 32},
		slowValue: 1 << 19 / cborNumber, slowBeside: 50,
		givers:   1_000,
		slowKeys: 100, slowLength: 4 * time.Second,
		hold: time.Second, limit: 2 * time.Second,
		conditions: []condition{idle, {name: "one core and busy loop", oneCore: true, busy: true}},
	}
}

const (
	tenNumbers   = 10
	cborNumber   = 9            // bytes of a large number in CBOR
	largeNumbers = 160_000 / 20 // 160 KB of JSON
	coldCost     = 20 * time.Millisecond
	fewCost      = 5 * time.Millisecond
	slowCost     = time.Millisecond
	slowRate     = 1 << 20 // bytes a second
	// clientTimeout is how long go-redis by default takes to send or to receive, seconds.
	clientTimeout = 3
	slowCallers   = 32
	// foundOut is the time within which a slow Redis must be detected.
	foundOut = 3 * time.Second
	// doneBy limits every order. A worker that is not done by then is killed.
	doneBy = 3 * time.Minute
)

// A scene is one of the loads, in several forms.
type scene struct {
	name string
	run  func(*stage) ([]row, error)
}

func (s scene) String() string { return s.name }

func scenes() []scene {
	return []scene{
		{"cold", coldStart},
		{"burst", burst},
		{"hits", func(s *stage) ([]row, error) {
			return hits(s, s.size.hits, order{Numbers: tenNumbers}, "10 int64")
		}},
		{"large-hits", func(s *stage) ([]row, error) {
			return hits(s, s.size.largeHits, order{Numbers: largeNumbers, JSON: true}, "160 KB of JSON")
		}},
		{"connections", fewConnections},
		{"large-value", largeValue},
		{"give-up", givingUp},
		{"slow-redis", slowRedis},
	}
}

// A condition is the environment of the worker.
type condition struct {
	name    string
	oneCore bool
	busy    bool // while another process runs a busy loop
}

func (c condition) String() string { return c.name }

var idle = condition{name: "idle"}

// A stage is the environment in which a scene is played.
type stage struct {
	redis    *server.Server
	size     size
	progress func(what string)
}

// under starts a worker under a condition, lets it open a cache, and calls do with it. Then the
// worker ends, and the busy loop with it.
func (s *stage) under(c condition, open order, do func(*child.Child[report]) error) (err error) {
	var env []string
	if c.oneCore {
		env = append(env, "GOMAXPROCS=1")
	}
	w, err := child.Start[report](workerArg, env...)
	if err != nil {
		return err
	}
	defer w.End()
	if c.busy {
		loop, err := child.Start[report](spinArg)
		if err != nil {
			return err
		}
		defer loop.End()
	}
	open.Do, open.Direct = doOpen, s.redis.Addr()
	if open.Addr == "" {
		open.Addr = s.redis.Addr()
	}
	if _, err := w.DoWithin(doneBy, open); err != nil {
		return err
	}
	return do(w)
}

// alone lets one worker carry out orders, and returns the last report.
func (s *stage) alone(c condition, open order, orders ...order) (last report, err error) {
	err = s.under(c, open, func(w *child.Child[report]) error {
		for _, o := range orders {
			if last, err = w.DoWithin(doneBy, o); err != nil {
				return err
			}
		}
		return nil
	})
	return last, err
}

// coldStart: callers go round keys of which none is cached.
func coldStart(s *stage) (rows []row, err error) {
	for _, workers := range s.size.coldWorkers {
		for _, c := range s.size.conditions {
			s.progress(fmt.Sprintf("%d workers, %s", workers, c.name))
			r := row{What: fmt.Sprintf("%d cold keys, %d workers", s.size.coldKeys, workers), Condition: c.name, Keys: s.size.coldKeys}
			open := order{Numbers: tenNumbers, Cost: coldCost}
			load := order{Do: doWalk, Keys: s.size.coldKeys, Callers: workers, Limit: s.size.limit}
			if err := s.compare(&r, c, open, load, s.size.timed); err != nil {
				return rows, err
			}
			r.limit("computations", float64(r.Computations), float64(r.Keys+r.Keys/50))
			r.allStored()
			rows = append(rows, r)
		}
	}
	return rows, nil
}

// compare plays a load on a cold cache, and the same work by bare commands before it. If times are
// compared, the bare commands also run after it, because the load of the machine may change
// meanwhile.
func (s *stage) compare(r *row, c condition, open, load order, timed bool) (err error) {
	plays := []deed{doBareCold, load.Do}
	if timed {
		plays = append(plays, doBareCold)
	}
	var bare []time.Duration
	for _, do := range plays {
		if err := s.redis.Empty(); err != nil {
			return err
		}
		load.Do = do
		by, err := s.alone(c, open, load)
		if err != nil {
			return err
		}
		if do == doBareCold {
			bare = append(bare, by.Took)
		} else {
			r.report = by
		}
	}
	for _, took := range bare {
		r.Bare += took / time.Duration(len(bare))
	}
	if timed {
		r.limit("time, x the same by bare commands", r.ratio(), 2)
	}
	return nil
}

// burst: each of many cold keys is requested by one caller, all at the same time.
func burst(s *stage) (rows []row, err error) {
	for _, c := range s.size.conditions {
		s.progress(c.name)
		r := row{What: fmt.Sprintf("%d cold keys at once", s.size.burst), Condition: c.name, Keys: s.size.burst}
		open := order{Numbers: tenNumbers, Cost: coldCost}
		load := order{Do: doTogether, Keys: s.size.burst, Callers: s.size.burst}
		if err := s.compare(&r, c, open, load, false); err != nil {
			return rows, err
		}
		r.limit("computations", float64(r.Computations), float64(r.Keys))
		r.allStored()
		rows = append(rows, r)
	}
	return rows, nil
}

// hits: each of many fresh keys is requested by one caller, all at the same time.
func hits(s *stage, keys int, open order, of string) (rows []row, err error) {
	s.progress("fill")
	fill, bareFill := order{Do: doFill, Keys: keys}, order{Do: doBareFill, Keys: keys}
	filled, err := s.alone(idle, open, bareFill, fill)
	if err == nil && filled.Stored < keys {
		err = fmt.Errorf("%d of %d entries are stored before the load: %+v", filled.Stored, keys, filled)
	}
	if err != nil {
		return nil, err
	}
	for _, c := range s.size.conditions {
		s.progress(c.name)
		r := row{What: fmt.Sprintf("%d fresh entries of %s at once", keys, of), Condition: c.name, Keys: keys}
		bare, err := s.alone(c, open, order{Do: doBareHits, Keys: keys})
		if err != nil {
			return rows, err
		}
		r.Bare = bare.Took
		if r.report, err = s.alone(c, open, order{Do: doTogether, Keys: keys}); err != nil {
			return rows, err
		}
		r.limit("computations", float64(r.Computations), 0)
		r.noneFailed()
		rows = append(rows, r)
	}
	return rows, nil
}

// fewConnections: the client has few connections, or the program's own commands hold them.
func fewConnections(s *stage) (rows []row, err error) {
	for _, form := range []struct {
		what string
		open order
		hold time.Duration
	}{
		{"MaxActiveConns 4", order{MaxActive: 4}, 0},
		{"MaxActiveConns 10", order{MaxActive: 10}, 0},
		{"BLPOPs hold a pool of 10", order{Pool: 10}, s.size.hold},
	} {
		for _, workers := range s.size.fewWorkers {
			r := row{What: fmt.Sprintf("%d cold keys, %d workers, %s", s.size.fewKeys, workers, form.what), Condition: idle.name, Keys: s.size.fewKeys}
			s.progress(r.What)
			form.open.Numbers, form.open.Cost = tenNumbers, fewCost
			load := order{Do: doWalk, Keys: s.size.fewKeys, Callers: workers, Limit: s.size.limit, Hold: form.hold}
			if err := s.compare(&r, idle, form.open, load, false); err != nil {
				return rows, err
			}
			r.limit("computations", float64(r.Computations), float64(r.Keys))
			r.allStored()
			rows = append(rows, r)
		}
	}
	return rows, nil
}

// largeValue: a large value takes seconds on a slow link, to Redis or from it, while other calls
// request small values. The default timeouts of clients, 3 s, must not keep it from arriving.
func largeValue(s *stage) (rows []row, err error) {
	for _, form := range []struct {
		what    string
		patient bool // the client
		filled  bool // the large value is stored before
	}{
		{"stored", true, false},
		{"stored through a client with its default timeouts", false, false},
		{"read", true, true},
	} {
		if !form.patient && s.size.slowValue*cborNumber < clientTimeout*slowRate {
			continue // then it arrives in time
		}
		s.progress(form.what)
		r, err := s.large(form.what, form.patient, form.filled)
		if err != nil {
			return rows, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}

func (s *stage) large(what string, patient, filled bool) (r row, err error) {
	if err := s.redis.Empty(); err != nil {
		return r, err
	}
	slow, err := link.New(s.redis.Addr(), slowRate)
	if err != nil {
		return r, err
	}
	defer slow.Close()
	bytes := s.size.slowValue * cborNumber
	r = row{What: fmt.Sprintf("%.3g MB %s at %.3g MB/s, beside small ones", mega(bytes), what, mega(slowRate)), Condition: idle.name, Keys: s.size.slowBeside}
	open := order{Numbers: tenNumbers, Cost: slowCost}
	if filled {
		open.Large = s.size.slowValue
	}
	if _, err := s.alone(idle, open, order{Do: doFill, Keys: s.size.slowBeside}); err != nil {
		return r, err
	}
	open.Addr, open.Large, open.Patient = slow.Addr(), s.size.slowValue, patient
	load := order{Do: doLarge, Keys: s.size.slowBeside, Callers: 8, Limit: s.size.limit}
	if patient {
		load.Limit *= 2
	}
	if r.report, err = s.alone(idle, open, load); err != nil {
		return r, err
	}
	sent := float64(slow.Up()) / float64(bytes)
	r.Detail = fmt.Sprintf("large: %d computed, answered after %v, %d stored after %v, sent %.2f times",
		r.Large.Computations, round(r.Large.Answered), r.Large.Stored, round(r.Large.Settled), sent)
	if r.Large.Failure != "" {
		r.Detail += ", failure: " + r.Large.Failure
	}
	r.limit("computations of the small ones", float64(r.Computations), 0)
	r.limit("p99 of the small ones, ms", millis(r.P99), millis(redisTimeout))
	r.limit("computations of the large one", float64(r.Large.Computations), 1)
	if !filled {
		r.least("the large one, stored", float64(r.Large.Stored), 1)
		r.limit("the large one, times sent", sent, 1.5)
	}
	r.noneFailed()
	return r, nil
}

// givingUp: Redis is down and all slots of MaxConcurrent are taken.
func givingUp(s *stage) ([]row, error) {
	r := row{What: fmt.Sprintf("%d callers give up after %v, Redis down, MaxConcurrent full", s.size.givers, patience), Condition: idle.name}
	s.progress(r.What)
	err := s.under(idle, order{Numbers: tenNumbers, MaxConcurrent: 4, OnCold: fncache.Wait}, func(w *child.Child[report]) (err error) {
		// The process is warm, because it has made calls before.
		if _, err := w.DoWithin(doneBy, order{Do: doFill, Keys: 10}); err != nil {
			return err
		}
		s.redis.Kill()
		r.report, err = w.DoWithin(doneBy, order{Do: doGiveUp, Callers: s.size.givers})
		return err
	})
	r.Detail = fmt.Sprintf("%d goroutines left", r.Left)
	r.limit("goroutines left after a second", float64(r.Left), 0)
	r.limit("computations for callers that gave up", float64(r.Computations), 0)
	r.limit("callers that were answered otherwise", float64(r.Calls-r.GaveUp), 0)
	return []row{r}, err
}

// slowRedis: Redis answers everything, but each time too late.
func slowRedis(s *stage) ([]row, error) {
	slow, err := link.New(s.redis.Addr(), 0)
	if err != nil {
		return nil, err
	}
	defer slow.Close()
	r := row{What: fmt.Sprintf("Redis answers everything after %v, %d callers", 2*redisTimeout, slowCallers), Condition: idle.name, Keys: s.size.slowKeys}
	s.progress(r.What)
	open := order{Addr: slow.Addr(), Numbers: tenNumbers, Cost: slowCost}
	load := order{Do: doPace, Keys: s.size.slowKeys, Callers: slowCallers, From: foundOut, Slow: redisTimeout}
	err = s.under(idle, open, func(w *child.Child[report]) (err error) {
		calm, late := load, load
		calm.Limit, late.Limit = time.Second, s.size.slowLength
		_, err = w.DoWithin(doneBy, order{Do: doFill, Keys: s.size.slowKeys})
		if err == nil {
			_, err = w.DoWithin(doneBy, calm)
		}
		if err == nil {
			slow.SetDelay(2 * redisTimeout)
			r.report, err = w.DoWithin(doneBy, late)
		}
		slow.SetDelay(0)
		return err
	})
	r.Detail = fmt.Sprintf("the last call that waited ended after %v; then p99 %.3g ms, the function's own %.3g ms", round(r.Found), millis(r.P99), millis(r.OwnP99))
	r.limit("detected, s", r.Found.Seconds(), foundOut.Seconds())
	r.least("calls once detected", float64(r.Late), 1)
	if s.size.timed {
		r.limit("p99 over that of the function once detected, ms", millis(r.P99-r.OwnP99), 2)
	}
	r.noneFailed()
	return []row{r}, err
}
