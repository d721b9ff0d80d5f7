/* The lease protocol of fncache, for one key: lock_*.lua, and what call.go,
 * flight.go and compute.go do around them. docs/protocol.md describes it;
 * `make model` checks it.
 *
 * Processes interleave in every order, so a pause and a slow network need no
 * statement of their own. What is modelled on purpose:
 *
 *   - callers that look up, acquire, compute, renew, and store, cool down or
 *     release; that give up while acquire or store is under way; that die while
 *     they hold the lease;
 *   - (JOINER) a caller in the process of the first caller, that joins its computation;
 *   - a writer that changes the source and then invalidates;
 *   - time: at any moment a lease runs out, an entry becomes stale, times out or is
 *     evicted;
 *   - the wires: a command may arrive twice, and either arrival at any moment.
 *
 * A caller asks for the lease once. Going through the table again, or polling, is
 * the same as another caller, because that caller too has a token of its own.
 *
 * Left out: Redis away (nothing is stored then), computations without a lease
 * (likewise), replicas that lag and failovers that lose writes (see the page), and
 * locks that another program wrote: their life is cut short, and here any lock may
 * run out at any moment.
 *
 * Macros that take a guard out, each of which must make the check fail:
 *
 *   NO_STORE_COMPARE    store does not compare the token in the lock
 *   NO_ACQUIRE_REREAD   acquire does not look at the entry
 *   PLAIN_DEL           release deletes the lock, even if another caller holds it
 *   NO_RENEW_COMPARE    renew does not compare the token in the lock
 *   COOL_KEEPS_TOKEN    cool down leaves the token in the lock
 *   NO_RELEASE          a caller that gives up or fails does not release
 *   RESENT_TOKEN        an acquire that is sent again carries the same token
 *   JOIN_UNTIL_DONE     a computation is joined even after its last step was sent
 *
 * and those that take faults out:
 *
 *   PROMPT_ACQUIRES     no acquire arrives after its caller has the answer
 *   CALM                no command arrives twice or late, no caller dies, no lease runs out
 *
 * JOINER adds the caller that joins. WIRED=verb lets that verb alone arrive twice or
 * late. PROMISE=n has only the promise of that number checked.
 */

#ifndef CALLERS
#define CALLERS 3
#endif
#ifndef CHANGES
#define CHANGES 1 /* of the source, each followed by an invalidation */
#endif
#ifdef CALM
#define WIRES 0
#endif
#ifndef WIRES
#define WIRES 1 /* arrivals on the way, besides those whose reply a caller waits for */
#endif
#ifndef PROMISE
#define PROMISE 0
#endif

#define ANSWERS 1 /* no answer is older than the last invalidation before its lookup */
#define STORES  2 /* no caller stores without holding the lease */
#define ONE     3 /* no lease is granted while another is neither over, expired nor invalidated */
#define WASTE   4 /* no lease is granted over a fresh entry, but to refresh it */
#define COOLING 5 /* no renew lengthens a cooldown */
#define LEFT    6 /* where all is calm, no lease outlives the calls */

#define holds(promise, condition) \
	assert((PROMISE != 0 && PROMISE != promise) || (condition))

/* What must happen in some order of events, or the check proves nothing. The
 * checker prints each; it is no part of the state. */
#define reached(what) \
	c_code { static int before; if (!before++) printf("reached: %s\n", what); }

mtype = { acquire, renew, store, cooldown, release, invalidate };
mtype = { acquired, held, changed, lost };

/* --- Redis --- */

/* The entry: who stored it (0: it is absent), from which version of the source,
 * and whether it is fresh. */
byte entry, version;
bool fresh;
#define OLD (CALLERS + 1) /* the caller that stored it before all this */

/* The lock: 0, a token, or a token that cools. */
byte lock;
#define COOL       64
#define cools(l)   ((l) >= COOL)
#define whose(t)   ((t) / 2)

/* A caller's token says which of the times its acquire was sent. */
#define FIRST 0
#define LAST  1 /* the one whose reply is read */
#ifdef RESENT_TOKEN
#define token(caller, sent) (2 * (caller))
#else
#define token(caller, sent) (2 * (caller) + (sent))
#endif

#define ANY 63 /* in place of what it saw: the caller refreshes any entry */

/* The guards. */
#ifdef NO_ACQUIRE_REREAD
#define unseen(saw) false
#else
#define unseen(saw) (saw != ANY && entry != 0 && entry != saw)
#endif
#ifdef NO_STORE_COMPARE
#define may_store(t) true
#else
#define may_store(t) (lock == t)
#endif
#ifdef PLAIN_DEL
#define may_release(t) true
#else
#define may_release(t) (mine(t))
#endif
#ifdef NO_RENEW_COMPARE
#define may_renew(t) (lock != 0)
#else
#define may_renew(t) (lock == t)
#endif
#define mine(t) (lock != 0 && !cools(lock) && whose(lock) == whose(t))

/* --- What no process sees --- */

byte source;      /* the version of the source */
byte invalidated; /* the last version whose invalidation has run */
byte holder;      /* the caller whose lease is neither over, expired nor invalidated */
bool resting;     /* the lock is a cooldown */
byte begun, ended; /* callers */

/* --- The process of caller 1 --- */

#ifdef JOINER /* a caller wants to join its computation */
#define here(caller) ((caller) == 1)
#else
#define here(caller) false
#endif
bool joinable;    /* its computation may be joined without a lookup */
byte outcome;     /* of that computation: 0, or one of */
#define UNSHARED  1
#define shared(v) (2 + (v))

/* --- The scripts, a step each --- */

inline grant(t, saw) {
	holds(ONE, holder == 0);
	holds(WASTE, saw == ANY || !(entry && fresh));
	lock = t;
	holder = whose(t);
	resting = false
}

inline on_acquire(t, saw, servable, answer) {
	if
	:: mine(t) ->
		/* Sent again. The lease goes over to the later sending, never back. */
		reached("acquire: it was granted before");
		if
		:: t > lock -> lock = t
		:: else
		fi;
		answer = acquired
	:: !mine(t) && unseen(saw) ->
		reached("acquire: the entry is one that the caller did not see");
		answer = changed
	:: else ->
		if
		:: lock == 0 ->
			grant(t, saw);
			answer = acquired
		:: cools(lock) && (saw == ANY || entry == 0 || !servable) ->
			reached("acquire: a cooldown with nothing to serve is taken over");
			grant(t, saw);
			answer = acquired
		:: else ->
			answer = held
		fi
	fi
}

inline on_renew(t, answer) {
	if
	:: may_renew(t) ->
		holds(COOLING, !resting);
		answer = held
	:: else ->
		if
		:: resting -> reached("renew: too late, the lease is a cooldown")
		:: else
		fi;
		answer = lost
	fi
}

inline on_store(t, result, answer) {
	if
	:: entry == whose(t) ->
		reached("store: it was stored before");
		answer = held
	:: entry != whose(t) && may_store(t) ->
		holds(STORES, holder == whose(t));
		entry = whose(t);
		version = result;
		fresh = true;
		free();
		answer = held
	:: else ->
		if
		:: lock == 0 -> reached("store: lost, and the lock is free")
		:: lock != 0 -> reached("store: lost to another holder")
		fi;
		answer = lost
	fi
}

inline on_cooldown(t, answer) {
	if
	:: lock == COOL + t ->
		reached("cool down: it was done before");
		answer = held
	:: lock != COOL + t && lock == t ->
#ifndef COOL_KEEPS_TOKEN
		lock = COOL + t;
#endif
		holder = 0;
		resting = true;
		answer = held
	:: else ->
		reached("cool down: lost");
		answer = lost
	fi
}

inline on_release(t, answer) {
	if
	:: may_release(t) ->
		lock = 0;
		resting = false;
		if
		:: holder == whose(t) -> holder = 0
		:: else
		fi;
		answer = held
	:: else ->
		reached("release: lost");
		answer = lost
	fi
}

inline free() {
	lock = 0;
	holder = 0;
	resting = false
}

inline on_invalidate() {
	entry = 0;
	version = 0;
	fresh = false;
	free()
}

/* --- Between the processes and Redis --- */

/* Arrivals whose reply no caller reads. */
#if WIRES > 0
chan wire[WIRES] = [1] of { mtype, byte, byte, bool, byte };
#else
chan wire[1] = [1] of { mtype, byte, byte, bool, byte };
#endif

/* Takes the first free place: it makes no difference which place it is. */
inline put_on_wire(verb, t, saw, servable, result) {
	if
	:: nfull(wire[0]) -> wire[0]!verb(t, saw, servable, result)
#if WIRES > 1
	:: full(wire[0]) && nfull(wire[1]) -> wire[1]!verb(t, saw, servable, result)
#endif
	fi
}

/* Whether a command may be on a wire. With many callers, one verb at a time keeps
 * the check short. */
#ifdef WIRED
#define wired(verb) (verb == WIRED)
#else
#define wired(verb) true
#endif
#if WIRES == 0
#define can_wait(verb) false
#elif WIRES == 1
#define can_wait(verb) (wired(verb) && nfull(wire[0]))
#else
#define can_wait(verb) (wired(verb) && (nfull(wire[0]) || nfull(wire[1])))
#endif

/* A command is perhaps sent twice. This comes before the step whose reply is read, so
 * that the other arrival can come first (its reply was lost) or later (it was on the
 * way for longer). If an earlier arrival makes no difference, it is in that same step. */
inline maybe_twice(verb, t, saw, servable, result) {
	if
	:: true
	:: can_wait(verb) -> put_on_wire(verb, t, saw, servable, result)
	fi
}

#ifdef PROMPT_ACQUIRES
/* Once the caller has its answer, no acquire of its own arrives. */
inline take_back(caller) {
	if
	:: answer != 0 && wire[0]?[acquire, eval(token(caller, FIRST)), _, _, _] -> wire[0]?acquire(_, _, _, _)
	:: else
	fi
}
#endif

/* Values that a process no longer needs must not make states different. */
inline forget() { answer = 0; saw = 0; result = 0; servable = false }

/* One arrival of the command on a wire. */
inline arrival(w) {
	wire[w]?verb(t, saw, servable, result);
	if
	:: verb == acquire -> on_acquire(t, saw, servable, answer)
	:: verb == renew -> on_renew(t, answer)
	:: verb == store -> on_store(t, result, answer)
	:: verb == cooldown -> on_cooldown(t, answer)
	:: verb == release -> on_release(t, answer)
	:: verb == invalidate -> on_invalidate()
	fi;
	verb = 0;
	t = 0;
	forget()
}

proctype wires() {
	mtype verb, answer;
	byte t, saw, result;
	bool servable;
end:	do
	:: atomic { nempty(wire[0]) -> arrival(0) }
#if WIRES > 1
	:: atomic { nempty(wire[1]) -> arrival(1) }
#endif
	od
}

/* --- Time, and eviction --- */

proctype time() {
end:	do
#ifndef CALM
	:: atomic { lock != 0 ->
		if
		:: here(whose(lock)) -> joinable = false /* the process knows how long its lease is valid */
		:: else
		fi;
		free()
	   }
#endif
	:: atomic { entry != 0 && fresh -> fresh = false }
	:: atomic { entry != 0 -> entry = 0; version = 0; fresh = false }
	od
}

/* --- The processes --- */

proctype writer() {
	do
	:: source < CHANGES ->
		source++;
		atomic {
			maybe_twice(invalidate, 0, 0, false, 0);
			on_invalidate();
			invalidated = source
		}
	:: else -> break
	od
}

/* The reading of an entry. The promise is about invalidations that completed
 * before the lookup was sent; what is checked is more: before it ran. */
#define read_entry() holds(ANSWERS, version >= invalidated)

proctype caller(byte me) {
	mtype answer;
	byte saw, result;
	bool servable;

	/* Look up, judge, and ask for the lease. Callers are alike, so let them begin
	 * in the order of their numbers. */
	atomic {
		begun == me - 1 -> begun = me;
		if
		:: entry != 0 ->
			read_entry();
			if
			:: fresh -> goto over /* served */
			:: !fresh -> servable = true
			:: !fresh -> reached("lookup: an entry too old for this caller's options")
			fi;
			saw = entry
		:: entry == 0
		:: saw = ANY
		fi;
		maybe_twice(acquire, token(me, FIRST), saw, servable, 0)
	};
	atomic {
		if
		:: true -> on_acquire(token(me, LAST), saw, servable, answer)
		:: true -> on_acquire(token(me, LAST), saw, servable, answer);
			answer = 0 /* the reply is lost */
		:: can_wait(acquire) -> put_on_wire(acquire, token(me, LAST), saw, servable, 0)
			/* so late that the caller gives up */
		fi;
#ifdef PROMPT_ACQUIRES
		take_back(me);
#endif
		if
		:: answer == changed ->
			read_entry();
			goto over /* serve it if it is fresh; else ask again, which another caller does */
		:: answer == held ->
			if
			:: servable && entry != 0 -> reached("serve stale while another computes")
			:: else -> reached("refused, or waits: another computes")
			fi;
			goto over
		:: answer == acquired ->
			servable = servable && entry != 0;
			joinable = joinable || here(me);
			/* The function reads the source at once: what it reads later is newer. */
			result = source
		:: answer == 0 -> goto give_back
		fi;
		answer = 0;
		saw = 0
	};

	/* Compute, and renew meanwhile. */
	do
	:: atomic {
			maybe_twice(renew, token(me, LAST), 0, false, 0);
			on_renew(token(me, LAST), answer);
			if
			:: answer == lost ->
				reached("renew: lost");
				goto finish
			:: else -> answer = 0
			fi
		}
	:: break
#ifndef CALM
	:: goto dead
#endif
	od;

	/* The last step. */
	atomic {
#ifndef JOIN_UNTIL_DONE
		joinable = joinable && !here(me);
#endif
		if
		:: maybe_twice(store, token(me, LAST), 0, false, result)
		:: can_wait(store) -> /* so late that it counts as failed */
			put_on_wire(store, token(me, LAST), 0, false, result);
			goto give_back
		:: servable -> /* the function failed, and there is an entry to serve */
			maybe_twice(cooldown, token(me, LAST), 0, false, 0);
			on_cooldown(token(me, LAST), answer);
			answer = lost; /* for joiners */
			goto finish
		:: servable && can_wait(cooldown) ->
			put_on_wire(cooldown, token(me, LAST), 0, false, 0);
			goto finish
		:: goto give_back /* the function failed */
		fi
	};
	atomic {
		on_store(token(me, LAST), result, answer);
		goto finish
	};

give_back:
	atomic {
#ifndef NO_RELEASE
		maybe_twice(release, token(me, LAST), 0, false, 0);
		on_release(token(me, LAST), answer);
#endif
		answer = lost
	};

finish:
	atomic {
		if
		:: here(me) && answer == held -> outcome = shared(result)
		:: here(me) && answer != held -> outcome = UNSHARED
		:: else
		fi;
		joinable = joinable && !here(me)
	};
over:
dead:	atomic { forget(); ended++ }
}

/* A call in the process of caller 1, that joins its computation without a lookup. */
proctype joiner() {
	byte before;
end:	atomic { joinable -> before = invalidated };
end_of_1:
	atomic {
		if
		:: outcome == UNSHARED -> reached("join: nothing that joiners may have")
		:: outcome >= shared(0) ->
			reached("join: the result is shared");
			holds(ANSWERS, outcome - shared(0) >= before)
		fi;
		before = 0
	}
}

init {
	byte n = 1;
	atomic { /* the others begin when this has ended */
		entry = OLD;
		do
		:: n <= CALLERS -> run caller(n); n++
		:: else -> break
		od;
		n = 0;
		run writer();
#ifdef JOINER
		run joiner();
#endif
		run wires();
		run time()
	};
#ifdef CALM
	ended == CALLERS && source == CHANGES && invalidated == CHANGES;
	holds(LEFT, lock == 0 || cools(lock))
#endif
}
