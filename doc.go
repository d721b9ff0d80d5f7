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
// The name of the function and the arguments make the key. One caller in the whole
// fleet recomputes a value at a time. Meanwhile all others are served a slightly
// stale value, or fail fast with [ErrColdCache].
//
// [WrapStruct] wraps the tagged fields of a struct. [Wrap1], [Wrap2] and [Wrap3] are
// Wrap with no reflection in the call, and return handles whose methods have the types of
// the function. [New1], [New2] and [New3] take the function as a value. [Open] makes a [Cache] from the URL of a Redis, and
// [New] one on a client that is there already. [SetDefault] names the cache of functions that
// were wrapped before there was one.
//
// The directory docs has a page for each concept, procedure and limit.
//
// # What a call gets
//
// An entry has an age, measured on the Redis server's clock. Under
// [Options.Freshness] it is fresh. From there to [Options.Timeout] it is stale. Past
// that, or without an entry, the cache is cold. The right to compute a value is a
// lease: a Redis lock with a random token, renewed while its holder computes.
//
//	entry | this caller gets the lease          | another caller holds it
//	------+-------------------------------------+-------------------------------------
//	fresh | serve it (no lease is needed)       | serve it
//	stale | compute, store, return the new one  | serve the stale one at once
//	cold  | compute, store, return it           | Fail: return ErrColdCache at once
//	      |                                     | Wait: wait for the holder's value
//	      |                                     | Compute: compute too, store nothing
//
// [Options.OnCold] chooses among the last three. A zero result (nil, 0, "") is a hit like
// any other. Misses and hits both return a decoded copy, so callers never share memory.
//
// # Errors and panics
//
// An error of the function is returned and not stored. With a stale entry, that entry is
// served instead, and nobody runs the function for the key for [Options.Cooldown].
// [Options.OnError] and [Options.StaleIf] change that. Without a stale entry the lease is
// released, and the next caller tries. A call that waits for another process is told when
// the function fails there, and becomes the next to try. After the second failure it gets
// [ErrColdCache].
//
// An error of [Options.CacheErrors], such as "no such book", is an answer: it is cached for
// [Options.ErrorTimeout].
//
// A panic reaches the caller that computes as a [*PanicError], panicked again there.
// Callers that waited get it as an error.
//
// The errors of the package itself work with [errors.Is] and [errors.As]: [ErrColdCache],
// [ErrRedisDown] and the others in the list of variables.
//
// # Contexts
//
// The function runs on a goroutine of its own. Its context has the values of the context
// of the caller that computes, and not its cancellation. [Options.ComputeTimeout] bounds
// it. A caller that cancels gets its context's error immediately; the computation
// continues, and its result is stored for the next caller. Slices and maps among the
// arguments are copied for it.
//
// [WithInfo], [WithRefresh] and [WithBypass] make a context that asks for more of one call.
// [NoStore], called inside the function, keeps its result out of the cache.
//
// # Functions without an error result
//
// Such a function cannot report a refusal, so it needs [Options.OnCold] Wait or Compute. Its
// callers go on waiting when their context ends or the function outlives
// ComputeTimeout. Where nothing else is left, a call computes. A panic, or the end of the
// function's goroutine, happens to all callers that wait for it.
//
// # Invalidation
//
// [Func.Invalidate] deletes an entry and the lease on it in one step, so what began to be
// computed before is never stored. A call that begins in this process afterwards is not
// answered with it. In another process that holds for each call whose lookup is sent
// afterwards; callers there may share one that is under way. With [Options.Near] it holds
// there a message later. While Redis is away, what Near has kept there is still served.
//
// Change the data, commit, then invalidate.
//
// # Tags
//
// With [Options.Tags] the entries of a function carry names, such as books or author:7. One
// command invalidates all entries that have one, [Cache.InvalidateTags], or makes them stale
// at most, [Cache.ExpireTags], whatever their keys, and whatever is being computed. [AddTags]
// adds those that only a result tells. A function inherits the tags of the cached functions
// that it calls.
//
// Nothing is deleted: one hash in Redis, the fence, remembers when each tag was last
// invalidated, and readers compare.
//
//	fncache:{fence}
//
// It has no expiry. Where it is lost, all entries with tags are misses, and none is served
// that was invalidated.
//
// # Keys
//
//	fncache:{<prefix>:<name>:<hash>}:<signature>         the entry
//	fncache:{<prefix>:<name>:<hash>}:<signature>:lock    the lease
//
// The hash is 128 bits over the arguments, which count by value. Nothing of a context is
// part of a key, except what [Options.Vary] returns. Set [Config.HashSecret] where arguments
// come from strangers.
//
// The signature is a fingerprint of the parameter and result types and of the codec. A
// deploy that changes them starts cold, and old and new processes run side by side. An
// invalidation reaches the entries of all releases with the same parameter types: each
// process registers its releases in a hash, fncache:functions:{<prefix>:<name>}, before a
// function first computes. The hash has no expiry, so give Redis a maxmemory-policy that
// spares such keys, as volatile-lru does.
//
// # Names
//
// The name of a function in keys is the first of these that it has:
//
//	Options.Name
//	the runtime's name of a top-level function         example.com/shop.TopBookIDs
//	of a method expression likewise                    example.com/shop.Store.TopBookIDs
//	in WrapStruct: package, type and field             example.com/shop.Service.TopBookIDs
//	the runtime's name of a method value               example.com/shop.Store.TopBookIDs-fm
//	that of an instance of a generic function          example.com/shop.Top%5B...%5D
//
// A closure in a variable has none of them: wrapping it is an error until [Options.Name] is
// set. Wrapping a second function under a name that is taken is an error, unless both set
// [Options.Shared]. Derived names are percent-escaped, so that fncache:{<name>:* matches the
// keys of that function alone in SCAN MATCH.
//
// # Parameters and results
//
// Parameters may be booleans, numbers other than complex, strings, [time.Time], and arrays,
// slices, maps and structs of these. A struct with unexported fields counts by its
// MarshalBinary or MarshalText. Pointers, interfaces, channels and funcs are refused when wrapping,
// because different values would share an entry. A struct field tagged `fncache:"-"` is no
// part of the key. A leading [context.Context] is passed on.
//
// A result comes back exactly: nil as nil, empty as empty, floats with their bits, times
// with instant and offset. A type of which something would be lost is refused when
// wrapping; [Options.Lossy] accepts the loss of unexported fields. A type with unexported
// fields is stored by its own pair of MarshalCBOR, MarshalBinary, MarshalText or
// MarshalJSON. A value that does not survive the codec is returned to its caller, logged
// and not stored. A [FormCodec] stores types that [CBOR] refuses, such as that of package
// fncacheproto the messages of Protocol Buffers.
//
// # The near cache
//
// With [Options.Near] a process answers from its own memory while the entry is fresh, for
// at most Near, and only until it hears that any process stored or invalidated it. While
// the process hears no events, the near cache is bypassed. While Redis is away, what is
// still kept is served as stale, up to Timeout. [Config.NearSize] bounds the memory.
//
// # When Redis is away
//
// The service stays up: calls compute in the process, one computation per key at a time and
// under the cold policy, and store nothing. [Config.OnRedisDown] can return [ErrRedisDown]
// instead. [Options.MaxConcurrent] bounds the computations.
//
// A node is away when connecting to it fails, when it says so, or when it has answered
// nothing at all for [Config.RedisTimeout] although something was sent to it. No call waits
// for it then; a goroutine tries about once a second whether it is back. A process that is
// busy proves nothing about Redis: a call that finds no free connection waits for one.
//
// When Redis is back, caching resumes. A value that Redis did not take is stored in the
// background once Redis accepts writes again, if the lease is still held then.
//
// [Cache.Ping] reports whether Redis is there and fit, [Cache.Health] what is away and why,
// and [Stats] counts errors by [RedisErrorKind].
//
// # Rights
//
// All that a Redis user needs, where [Config.Namespace] is the default:
//
//	ACL SETUSER app on >secret ~fncache:* &fncache:events:*
//	    +get +time +eval +evalsha +getrange +set +del +pexpire +pttl +hgetall +hset +hdel
//	    +setrange +hget +hmget +hincrby +hlen +hrandfield +publish +subscribe +unsubscribe +ping
//
// The client of a Cluster needs +cluster|slots and +command too.
// Processes publish what they store and invalidate on fncache:events:<prefix>:<name>.
//
// # Limits
//
// The lease guards against wasted work. That no old value is stored over a newer one rests
// on the compare in the script that stores. A failover can lose the last writes, an
// invalidation among them. A client that reads from replicas may be served a fresh entry
// that the primary no longer has. A function that waits for its own key through another
// process, or without passing its context on, waits until [Options.WaitTimeout]. Two
// functions without error results that call each other, both under MaxConcurrent, can
// deadlock. docs/limits.md has the whole list.
//
// # The way of one call
//
// The files, in the order in which a call meets them. No file calls a function of a file
// above it.
//
//	typed.go        Wrap1 and New1 and their kin, and the handles that know their types
//	decorate.go     Wrap and WrapStruct, and the handle
//	cache.go        configuration; the Cache: made, pinged, closed, wired with what follows
//	call.go         the stub that callers call, and one call's way through the table
//	hits.go         what a fresh hit sets off in the background
//	wait.go         the call waits for a computation and takes its end, or is refused
//	decide.go       its flight finds out: it looks up, judges, asks for the lease, waits
//	compute.go      one run of the function, from its start to its end
//	settle.go       it is tended, and settled: encoded, stored, stored later
//	fence.go        which tags were invalidated: asked, captured, told
//	flight.go       who joins whom in this process
//	entry.go        what an entry is worth; what of it is kept in memory
//	tags.go         the tags of a call, and those that a run of a function collects
//	lock.go         the lease protocol: everything said to Redis
//	func.go         what is known of a wrapped function: its checks, its name, its cache
//	options.go      options, policies, and the options of struct tags
//	codec.go        CBOR, JSON, and the codec of a cache
//	envelope.go     the stored bytes
//	reflectkey.go   the form of keys
//	info.go         what a call is asked for, and what is told about it
//	errors.go       the errors that users see, and the kinds of trouble with Redis
//
// What is an organ of its own is a package below internal: each says in its first
// sentence what it is, and deps_test.go lists what each imports.
package fncache
