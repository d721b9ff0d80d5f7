// Package fncache caches the results of functions in Redis, so that a burst of
// requests never becomes a burst of computations.
//
// [Wrap] replaces a func field or variable by a cached version: it looks in
// Redis first, lets one caller in the whole fleet recompute a value at a time,
// and meanwhile serves everybody else a somewhat old value, or refuses them at
// once with [ErrColdCache]. [WrapStruct] does so for the tagged fields of a
// struct. [Wrap1], [Wrap2] and [Wrap3] are Wrap with no reflection in
// the call. [Open] makes a [Cache] from the URL of a Redis, and [New] one on a client that
// is there already.
//
// # What a call gets
//
// An entry has an age, measured on the Redis server's clock. Under
// Options.Freshness it is fresh; from there to Options.Timeout it is stale; past
// that, or absent, the cache is cold. The right to compute is a lease: a Redis
// lock with a random token, renewed while its holder computes.
//
//	entry | this caller gets the lease          | somebody else holds it
//	------+-------------------------------------+--------------------------------
//	fresh | (no lease is asked for) serve it    | serve it
//	stale | compute, store, return the new one  | serve the stale one at once
//	cold  | compute, store, return it           | Fail: ErrColdCache at once
//	      |                                     | Wait: wait for the holder's value
//	      |                                     | Compute: compute too, store nothing
//
// A zero result (nil, 0, "") is a hit like any other. An error is returned and
// not stored; with a stale entry at hand that is served instead, and the function
// is left alone for Options.Cooldown. Without one the lease is released at once, and the
// next caller tries. A call that waits for another process hears when the function fails
// there; it becomes the next to try, and after the second failure it gets [ErrColdCache].
// (While events are not heard, it goes on trying until WaitTimeout.) What a miss returns went once through the
// codec, as what a hit returns, so no caller shares memory with another.
//
// A result that does not survive the codec is returned as it is to the caller that
// computed, logged, and not stored. Callers of the same process who waited get a copy of
// it, and so they do of what comes together with an error. Where types hide references in
// unexported fields there is no safe copy: then each caller computes for itself, at once,
// or gets the error with zero values. For a second afterwards the key is computed without
// a lease, as under OnCold Compute.
//
// The function runs on a goroutine of its own, with the values of the caller's
// context but not its cancellation, bounded by Options.ComputeTimeout: a caller
// that gives up gets its context's error at once, while the computation ends and
// is stored for the next one. Slices and maps among the arguments are copied for
// it. A panic reaches the caller that computes as a [*PanicError], panicked
// again there; callers who waited get it as an error. Where a stale entry is at hand,
// the Cooldown follows a panic too.
//
// A function without an error result cannot be refused: it needs Options.OnCold
// Wait or Compute, its callers go on waiting when their context ends or the function
// outlives Options.ComputeTimeout, and where nothing else is left it computes. A panic, or
// the end of its goroutine, is that of all who wait for it.
//
// [Func.Invalidate] deletes an entry and the lease on it in one step: what began
// to be computed before is never stored. No call that begins in this process after
// it is answered with it; in another process, no call whose lookup, which may be
// shared, is sent after it (with Options.Near: none, a moment later, but for what
// is still kept while Redis is away).
//
// An error of Options.CacheErrors ("no such book") is an answer: it is cached for
// Options.ErrorTimeout. Options.StaleIf chooses which of the others are answered
// with a stale entry.
//
// # When Redis is away
//
// The service stays up: calls compute in the process, one computation per key at
// a time and under the cold policy, and store nothing (Config.OnRedisDown). Who
// would wait joins what already runs, be it under a lease that could not be renewed,
// unless this process has invalidated the key since it began: what other processes
// have invalidated it cannot know then.
// Options.MaxConcurrent bounds them.
//
// A node is away when connecting to it fails, when it says so (as while it loads its data),
// or when it has answered nothing at all for Config.RedisTimeout although something was sent
// to it. From then on it is not asked, and no call waits for it; a goroutine tries about
// once a second whether it is back. [Cache.Health] says what is away and why. Reading and
// writing are judged separately, and so are the nodes of a Cluster.
//
// A process that is busy proves nothing about Redis. A call that finds all connections of the
// client's pool in use waits for one, as long as its context and WaitTimeout allow. It is
// never answered by computing without a lease, because that would turn load into a stampede.
//
// When Redis is back, caching resumes. A value that Redis did not take is stored in the
// background as soon as Redis accepts writes again, if the lease is still held then.
//
// What is wrong is told apart ([RedisErrorKind]), counted in [Stats], and logged
// once with what to do. A server that has forgotten the scripts is sent them
// again, at the cost of a command more, and that is counted and told too. A server that answers, but takes no writes or not from
// this user, still serves what it has.
//
// # What processes tell each other
//
// Every script that ends a lease or an entry publishes its verb and the key on the channel of
// the function, fncache:events:<prefix>:<name> (Config.Namespace comes first). A process
// subscribes to the channels of functions that have a near cache there, and of those that a
// call waits for; one connection serves them all. A channel that nobody has needed for a
// minute is let go.
//
// A caller that waits for another process's value has it as soon as it is stored. It asks
// about once a second all the same, because the process that stores may not be allowed to
// publish. Until the subscription is up, while it is lost, and where the user may not
// subscribe, it asks more often, from every 10 ms to every 250 ms. A subscription that says
// nothing is noticed within three times 500 ms or RedisTimeout, whichever is more.
//
// All that a user needs, where Config.Namespace is the default:
//
//	ACL SETUSER app on >secret ~fncache:* &fncache:events:*
//	    +get +time +eval +evalsha +getrange +set +del +pexpire +pttl +hgetall +hset +hdel
//	    +publish +subscribe +unsubscribe +ping
//
// The keys are fncache:{* for entries and leases, and fncache:functions:* for releases. The
// log says once if this user may not publish, and [Cache.Ping] is an error then: other
// processes are not told what this one stores and invalidates, so their near caches may serve
// what was replaced until their time, Near, is over.
//
// # The near cache
//
// With Options.Near a process answers from its own memory, without asking Redis:
// while the entry is fresh by the function's own options, for Near at most after
// it came in, and only until it hears that any process stored or invalidated it.
// A process's own [Func.Invalidate] counts at once. While the subscription is not
// up, Redis is asked as without Near, and what was kept before it was lost is not
// served again. So a caller is given what was invalidated elsewhere for as long as
// a message takes, some milliseconds; or for Near, where a message is lost unnoticed: in a
// Cluster whose nodes have lost touch, from a process that may not publish, or where the
// client reads from replicas that lag. A process whose machine was suspended, or whose wall
// clock was set, serves nothing that it kept before: it notices within a millisecond of its
// own time where the two clocks of the machine have parted by more than a second.
//
// With Redis away, a call whose lookup failed is answered with what is still
// kept, as SourceStale and within Options.Timeout, before anything is computed and
// under DownError too; never with what is known to have been stored anew or
// invalidated, or what a lookup has found gone. What other processes have
// invalidated since this one was cut off it cannot know.
//
// Errors that are answers (Options.CacheErrors) are not kept. Results are kept
// decoded, and no caller shares memory with them: what refers to
// nothing is handed out as it is, slices, maps and pointers are copied. Types that
// hide references in unexported fields are kept encoded and decoded for each caller,
// which is slower (time.Time and the types of net/netip are known not to need it).
// Config.NearSize bounds the memory. Where
// all arguments are booleans, numbers and strings (what Options.Vary returns is one), up to four of the former and two
// strings, a hit hashes nothing for a key.
//
// # Keys, and what may be a parameter
//
//	fncache:{<prefix>:<name>:<hash>}:<signature>         the entry
//	fncache:{<prefix>:<name>:<hash>}:<signature>:lock    the lease
//
// Nothing of a context is part of a key, except what Options.Vary returns: a leading
// [context.Context] is passed on.
//
// The hash is 128 bits over the arguments. They count by value: booleans, numbers,
// strings, [time.Time], and arrays, slices, maps and structs of these, whatever methods
// their types have. A struct with unexported fields counts by its MarshalBinary or
// MarshalText, on its own and inside of others. A time is its instant and its offset
// from UTC; the name of its zone does nothing. A struct field tagged `fncache:"-"` is no
// part of the key. Pointers, interfaces, channels, funcs, and structs with unexported
// fields and no encoding are refused when wrapping, because different values would
// share an entry. docs/keys.md has a table of all that. Set Config.HashSecret where
// arguments come from strangers.
//
// The signature is a fingerprint of the parameter and result types with their
// fields: a deploy that changes them starts cold, and old and new processes run
// side by side. The braces put the entries of all releases for the same arguments
// into one slot of a Cluster.
//
// Where the parameter types are the same, [Func.Invalidate] reaches the entries of all
// releases: in a rolling deploy no release serves what the other has invalidated. For that
// each process registers, before a function first computes, under
//
//	fncache:functions:{<prefix>:<name>}    the releases of a function
//
// a small hash without an expiry. While it cannot register nothing is stored; a release
// that has not registered for 35 days, or for longer where its Timeout is longer, is
// forgotten, as are those seen longest ago of more than 256. Give Redis a maxmemory-policy
// that spares keys without an expiry (volatile-lru, say). Where the hash is lost, each
// process restores its part within about five minutes while its functions are called.
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
// A closure in a variable, or in a field of an unnamed struct type, has none of
// them: wrapping it is an error until Options.Name is set. The main package is
// called by its path from the build information. Where a build has none (go run
// FILE.go), functions and types of the main package have no name either.
//
// Derived names are percent-escaped where a character is not allowed in a key or
// means something in a pattern of SCAN MATCH: fncache:{<name>:* matches the keys of
// that function alone. A given Name or Prefix may hold * ? [ ] ^ and \, which a
// pattern must escape by a backslash.
//
// Two functions never share a name. Wrapping the same top-level function twice is
// fine; wrapping any other function under a name that is taken is an error, also
// where both have set Options.Name, unless both set Options.Shared. Caches of one
// client and namespace share their names. Where the cache is the default one, known
// at the first call, the error is that of the call (a function without an error
// result then computes, and the log says so).
//
// # Limits
//
// The lease guards against wasted work; that no old value is stored over a newer
// one rests on the compare in the store script. Asynchronous replication can lose
// the last writes in a failover: an invalidation among them. A client that reads
// from replicas may be served a fresh entry that the primary has no more. The
// nodes of a Cluster are taken to share one clock. A function that, through
// another process or without passing its context on, waits for its own key waits
// until WaitTimeout; so do two functions under OnCold Wait that need each other's
// values at the same time. So may callers under OnCold Wait of a key that is
// invalidated faster than it is computed, while other processes are quicker to the
// lease. Two functions without error results that call each other, both under
// MaxConcurrent, can deadlock: each waits for the other's place.
//
// # Results
//
// A result that is stored comes back exactly: nil as nil, empty as empty, floats with
// their bits, times with instant and offset. A type all of whose values are visible
// (plain kinds, and arrays, slices, maps, pointers and structs of exported fields) is
// encoded by value, whatever methods it has; MarshalCBOR with UnmarshalCBOR is the one
// exception. A type with unexported fields, or that contains itself, is encoded by its own
// MarshalCBOR, MarshalBinary, MarshalText or MarshalJSON, if it has the other half too. Anything
// else of which something would be lost is refused when wrapping: unexported fields,
// interfaces, channels, funcs, recursive types, maps whose keys hold addresses. A field
// tagged `fncache:"-"` (or `cbor:"-"`, under [JSON] `json:"-"`) is left out on purpose,
// and Options.Lossy accepts the loss of unexported fields. The name of a time's zone is
// not kept. See docs/results.md.
//
// # The way of one call
//
//	decorate.go     Wrap, and the handle
//	shape.go        the stub that callers call: arguments and results by reflection;
//	                typed.go: where the compiler knows the types
//	internal/signature  what may be wrapped        (when wrapping)
//	options.go      options, configuration; tag.go, internal/structtag: tags
//	                (when wrapping)
//	info.go         what a call is asked for, and what is told about it
//	name.go         what a function is called
//	reflectkey.go   name and arguments to the key; internal/keyhash: how arguments
//	                are hashed
//	cache.go        the cache: goroutines, closing; registry.go: who has which name
//	call.go         the decision table, for a call; decide.go: for its flight;
//	                entry.go: what an entry is worth
//	flight.go       who joins whom in one process
//	envelope.go     the stored format; codec.go: CBOR, JSON, and a cache's codec;
//	                internal/codec: results to bytes and back
//	near.go         what this process keeps in its own memory; internal/deepcopy:
//	                copies of it, and of arguments
//	internal/clock  the server's time
//	lock.go         the lease protocol: everything said to Redis; releases.go: which
//	                releases of a function there are
//	internal/remote the way there: lanes, pipelines, and which node is away; cluster.go:
//	                the primaries of a Cluster
//	health.go       what goes wrong with Redis: kinds, remedies, what is away now;
//	                ping.go: whether it is fit; open.go: a client from a URL
//	subscribe.go    listening to what the scripts publish
//	events.go       what is known of what happens to keys elsewhere
//	apart.go        code of the user's own, such as unmarshalers, on its own goroutines
//	compute.go      one run of the function; bulkheads.go: how many at once;
//	                settle.go: its end
//	errors.go       the errors that users see; internal/oncelog: the log, for which
//	                nobody waits
package fncache
