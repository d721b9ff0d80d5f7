// Package fncache caches the results of functions in Redis, so that a burst of
// requests never becomes a burst of computations.
//
// [Wrap] replaces a func field or variable by a cached version:
//
//	cache, err := fncache.Open(ctx, "redis://localhost:6379", fncache.Config{})
//	...
//	topBookIDs := store.TopBookIDs // func(ctx context.Context, authorID int64) ([]int64, error)
//	f, err := fncache.Wrap(&topBookIDs, fncache.Options{
//		Cache: cache, Timeout: 24 * time.Hour, Freshness: time.Hour,
//	})
//	...
//	ids, err := topBookIDs(ctx, 7) // looks in Redis first
//
// The name of the function and the arguments make the key. One caller in the whole fleet (all
// processes that share the Redis) recomputes a value at a time. Meanwhile all others are served a
// slightly stale value, or fail fast with [ErrColdCache]. What wrapping returns is the handle of
// the function: it invalidates, refreshes and counts.
//
// [WrapStruct] wraps the tagged fields of a struct. [Wrap1], [Wrap2] and [Wrap3] know the types
// of the function when they are compiled: calls are faster, and the methods of their handles have
// the types of the function. [New1], [New2] and [New3] take the function as a value. [WrapBatch] wraps a function that
// returns values for many ids, with an entry for each. [Open] makes a [Cache] from the URL
// of a Redis, and [New] makes one from an existing client. [SetDefault] sets the cache of all
// functions that are wrapped without one.
//
// The directory docs has a page for each concept, procedure and limit.
//
// # What a call gets
//
// An entry has an age, measured on the Redis server's clock. It is fresh until its age
// reaches [Options.Freshness], and then stale until its age reaches [Options.Timeout]. After
// that, or without an entry, the cache is cold. A run of the function for the cache is a
// computation. The right to compute a value is a lease: a Redis lock with a random token, renewed
// while its holder computes.
//
//	entry | this caller gets the lease          | another caller holds it
//	------+-------------------------------------+-------------------------------------
//	fresh | serve it (no lease is needed)       | serve it
//	stale | compute, store, return the new one  | serve the stale one at once
//	cold  | compute, store, return it           | Fail: return ErrColdCache at once
//	      |                                     | Wait: wait for the holder's value
//	      |                                     | Compute: compute too, store nothing
//
// [Options.OnCold] is Fail, Wait or Compute. A zero result (nil, 0, "") is a hit like any
// other. Misses and hits both return a decoded copy, so callers never share memory.
//
// # Errors and panics
//
// An error of the function is returned and not stored. If there is a stale entry, that entry
// is served instead, and no process runs the function for this key during [Options.Cooldown].
// [Options.OnError] and [Options.StaleIf] change that. Without a stale entry the lease is
// released, and the next caller tries. A call that waits for another process learns when the
// function fails there, and becomes the next to try. After the second failure the call returns
// [ErrColdCache].
//
// An error of [Options.CacheErrors], such as "no such book", is an answer: it is cached for
// [Options.ErrorTimeout].
//
// A panic of the function is raised again in the caller that computes, as a [*PanicError].
// Callers that waited get the *PanicError as an error.
//
// The errors of the package itself work with [errors.Is] and [errors.As]: [ErrColdCache],
// [ErrRedisDown] and the others in the list of variables.
//
// # Contexts
//
// The function runs on its own goroutine. Its context has the values of the context of the
// caller that computes, but not the cancellation. [Options.ComputeTimeout] bounds the run. A
// caller that cancels gets its context's error immediately; the computation continues, and
// its result is stored for the next caller. The function gets copies of slices and maps among
// the arguments.
//
// [WithInfo], [WithRefresh] and [WithBypass] return a context with an option for one call.
// [NoStore], called inside the function, keeps its result out of the cache.
//
// # Functions without an error result
//
// Such a function cannot report a refusal, so it needs [Options.OnCold] Wait or Compute. Its
// callers continue to wait when their context ends, and when the function runs longer than
// ComputeTimeout. If a call can be answered in no other way, it computes. If the function
// panics, all callers that wait for it panic. If it calls [runtime.Goexit], their goroutines
// end too.
//
// # Invalidation
//
// [Func.Invalidate] deletes an entry and its lease in one step, so the result of a
// computation that began before is never stored. Calls that begin in this process afterwards
// do not get the invalidated value. In another process, calls whose lookup is sent afterwards
// do not get it; callers there may still share a lookup that was sent before. A process with a
// near cache ([Options.Near]) stops serving the value when it receives the event about the
// invalidation. While Redis is away, the near cache of another process still serves it.
//
// [Func.Clear] invalidates all entries of a function.
//
// Change the data, commit, then invalidate.
//
// # Tags
//
// With [Options.Tags] the entries of a function carry names, such as books or author:7.
// [Cache.InvalidateTags] invalidates all entries that have a tag, in one command.
// [Cache.ExpireTags] makes them stale. Neither needs to know the keys. Both also reach
// computations that are under way.
// [AddTags] adds tags that depend on the result. A function inherits the tags of the cached
// functions that it calls.
//
// Nothing is deleted: one hash in Redis, the fence, remembers when each tag was last
// invalidated, and readers compare.
//
//	fncache:{fence}
//
// The fence has no expiry. If it is lost, all entries with tags are misses, so no invalidated
// entry is served.
//
// # Keys
//
//	fncache:{<prefix>:<name>:<hash>}:<signature>         the entry
//	fncache:{<prefix>:<name>:<hash>}:<signature>:lock    the lease
//
// The hash has 128 bits and covers the arguments by value. A context is not part of the key,
// except for the string that [Options.Vary] returns. Set [Config.HashSecret] if arguments come
// from untrusted clients.
//
// The signature is a fingerprint of the parameter and result types and of the codec. A
// deploy that changes them starts cold, and old and new processes run side by side. A function
// with one signature is a release of it. An invalidation reaches the entries of all releases with
// the same parameter types: each process registers its releases in a hash, fncache:functions:{<prefix>:<name>}, before a
// function first computes. The hash has no expiry, so give Redis a maxmemory-policy that does
// not evict such keys, such as volatile-lru.
//
// # Names
//
// The name of a function in keys is the first of these that it has:
//
//	Options.Name
//	the runtime's name of a top-level function         example.com/shop.TopBookIDs
//	the runtime's name of a method expression          example.com/shop.Store.TopBookIDs
//	in WrapStruct: package, type and field             example.com/shop.Service.TopBookIDs
//	the runtime's name of a method value               example.com/shop.Store.TopBookIDs-fm
//	the name of an instance of a generic function      example.com/shop.Top%5B...%5D
//
// A closure in a variable has no name, so wrapping it is an error unless [Options.Name] is set.
// Wrapping a second function under the same name is an error unless both set [Options.Shared].
// Derived names are percent-escaped, so that fncache:{<name>:* in SCAN MATCH matches only the
// keys of that function.
//
// # Parameters and results
//
// Parameters may be booleans, numbers other than complex, strings, [time.Time], and arrays,
// slices, maps and structs of these. A struct with unexported fields is hashed by its
// MarshalBinary or MarshalText. Pointers, interfaces, channels and funcs are refused when
// wrapping, because different values would share an entry. A struct field tagged
// `fncache:"-"` is not part of the key. A leading [context.Context] is passed on.
//
// A result comes back exactly: nil as nil, empty as empty, floats with their bits, times
// with instant and offset. A type that would lose something is refused when wrapping;
// [Options.Lossy] accepts the loss of unexported fields. A type with unexported fields is
// stored by its own pair of MarshalCBOR, MarshalBinary, MarshalText or MarshalJSON. A value
// that the codec cannot restore is returned to its caller, logged and not stored. A
// [FormCodec] stores types that [CBOR] refuses. For example, the codec of package fncacheproto
// stores messages of Protocol Buffers.
//
// # The near cache
//
// With [Options.Near] a process answers from its own memory while the entry is fresh, for
// at most Near, and only until it hears that any process stored or invalidated the entry. While
// the process hears no events, the near cache is bypassed. While Redis is away, entries in the
// near cache are served as stale, up to Timeout. [Config.NearSize] bounds the memory.
//
// # When Redis is away
//
// The service stays up: calls compute in the process, one computation per key at a time and
// under the cold policy, and store nothing. [Config.OnRedisDown] can return [ErrRedisDown]
// instead. [Options.MaxConcurrent] bounds the computations.
//
// A node is away when connecting to it fails, when its answer says that it cannot serve, or
// when commands were sent to it and it has answered nothing for [Config.RedisTimeout]. While a
// node is away, calls do not wait for it; a goroutine checks about once a second whether it is
// back. A lack of free connections says nothing about Redis: a call that finds none waits for
// one.
//
// When Redis is back, caching resumes. A value that could not be stored is stored in the
// background once Redis accepts writes again, if the lease is still held then.
//
// [Cache.Ping] checks whether Redis is reachable and usable. [Cache.Health] returns which nodes
// are away and why. [Stats] counts errors by [RedisErrorKind].
//
// # Metrics and traces
//
// [Func.Stats] counts calls and computations. [Cache.NearStats] has the figures of the near cache.
// The cache calls an [Observer] (Config.Observer) for whatever takes time, with the contexts of the
// calls. The package fncacheotel, a module of its own, turns that into metrics and traces of
// OpenTelemetry.
//
// # Rights
//
// The cache's Redis user needs these rights if [Config.Namespace] is the default:
//
//	ACL SETUSER app on >secret ~fncache:* &fncache:events:*
//	    +get +mget +time +eval +evalsha +getrange +set +del +pexpire +pttl +hgetall +hset +hdel
//	    +setrange +hget +hmget +hincrby +hlen +hrandfield +publish +subscribe +unsubscribe +ping
//
// The client of a Cluster needs +cluster|slots and +command too, and [Func.Clear] of a function
// without tags +scan +unlink. Processes publish an event on fncache:events:<prefix>:<name> when they
// store or invalidate an entry.
//
// # Limits
//
// The lease only prevents duplicate work. The script that stores a value compares tokens
// first, so an old value cannot replace a newer one. A failover can lose the last writes, including an
// invalidation. A client that reads from replicas can get a fresh entry that the primary has
// deleted. A function that waits for its own key through another process, or without passing
// its context on, waits until [Options.WaitTimeout]. Two functions without error results that
// call each other, both under MaxConcurrent, can deadlock. docs/limits.md has the whole list.
//
// # The path of one call
//
// A call that finds no entry, and computes, goes through these files of the package:
//
//  1. typed.go has the stub that the caller calls; for a function that Wrap has wrapped, call.go
//     has it. A fresh entry of the near cache would answer the call here (entry.go).
//  2. call.go finds the cache of the function (func.go), and makes the key (reflectkey.go).
//  3. flight.go lets the call join the flight of the key, or start one (internal/flights).
//  4. decide.go looks the entry up for the flight (lock.go, and tags.go for a function with
//     tags), and judges it (entry.go, envelope.go).
//  5. decide.go asks for the lease (flight.go, lock.go), and begins a computation.
//  6. compute.go runs the function, and settle.go renews the lease meanwhile.
//  7. settle.go encodes the result (codec.go), stores it, and releases the lease (lock.go).
//  8. wait.go takes the outcome for the call, and copies it for calls that have joined. call.go
//     counts the call.
//
// The caller's goroutine does steps 1 to 4. Steps 5 to 7 run on goroutines of the cache, and the
// caller waits for them in wait.go.
//
// All commands of calls go through package internal/remote. observer.go reports these steps to
// Config.Observer.
//
// # The files
//
// Callers come before what they call: no file calls a function of a file above it. A function
// that was passed down as a value may still run above, such as the run of a batch.
//
//	typed.go        Wrap1 to Wrap3, New1 to New3, WrapBatch: the stubs and handles that know their types
//	operate.go      what cmd/fncache and fncachedebug do to entries, by the names of functions and by keys
//	decorate.go     Wrap and WrapStruct; the methods of the handle Func
//	cache.go        Config; New, Open, Ping and Close of a Cache, and its parts
//	batch.go        a call of a batch function: its ids, and their answers
//	chunks.go       the lookups and leases of the ids of such a call, and the runs of the function
//	call.go         the stubs of Wrap; a call, from its key to its answer; what a fresh hit starts
//	wait.go         a call waits for a computation and takes its outcome, or is refused; computations without a lease
//	decide.go       the flight of a call: lookup, judgement, lease, waiting, decision; refreshing before an entry is stale
//	compute.go      one run of the function, from its start to its end; verifying an entry
//	settle.go       renewing the lease of a run; encoding and storing its result, or storing it later
//	invalidate.go   invalidating and expiring: by key, by tag, all of a function
//	flight.go       a flight: what it has from its first call, its decision; asking for the lease
//	entry.go        whether an entry may be served; what the near cache keeps of it; answers from there
//	tags.go         the tags of a call and of a run; asking Redis which tags were invalidated
//	inside.go       a run from inside: what the function says of its entry, the frame in its context, its part in a batch
//	lock.go         the lease protocol and the commands that it sends to Redis; lock_*.lua has a script for each verb
//	observer.go     the Observer and its events, and calling its methods
//	func.go         the state of a wrapped function: its checks, its name, its cache; the registry of names
//	options.go      Options, policies, their checks and defaults; which options a struct tag can set
//	codec.go        Codec, CBOR and JSON; the codec of a cache
//	envelope.go     the stored format of an entry
//	reflectkey.go   the form of keys, and the key of a call
//	info.go         options of one call, its Info; Stats, Health and NearStats
//	errors.go       the errors that users see, and the kinds of trouble with Redis
//
// Parts that stand alone are packages below internal. The first sentence of each package says
// what the package is for, and deps_test.go lists what each imports. CONTRIBUTING.md lists them by
// subject, and has the steps of common changes.
package fncache
