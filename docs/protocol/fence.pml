/* The fence of tags, for one tag T and one entry that carries it: what docs/protocol.md
 * says about stamps and judging; `make model` checks it. Nested calls and the near cache
 * are in nested.pml.
 *
 * The lease is left out: callers compute and store at any moment, which is more than the
 * lease allows. So it does not rest on the lease that no old value counts.
 *
 *   - callers, each a process of its own, look up (entry and fence in either order),
 *     judge, and serve, or wait until acquire gives them an entry, or compute: capture,
 *     call the function, renew, settle, re-read, store;
 *   - a call joins the computation of caller 1 (JOINER, or AWAY while it cannot ask Redis),
 *     or its lookup (LATE);
 *   - a writer changes the source and then invalidates or expires T, and invalidates other
 *     tags (OTHERS times), or another process does that (STRANGER);
 *   - at any moment: the fence is evicted (EVICT times), T's field is trimmed (TRIM), a
 *     replica takes over with what it has (FAILOVER) or answers reads (REPLICA); a capture
 *     or a re-read has no answer.
 *
 * Time is the largest stamp that was ever given out: with clocks that agree, no stamp is
 * given out below it again. NO_TIME takes that away, as where TIME is refused.
 *
 * Macros that take a guard out, each of which must make the check fail:
 *
 *   CAPTURE_LATE      the stamp is captured after the function has run
 *   NO_REREAD         joiners get the computed value without a re-read
 *   REREAD_EARLY      the re-read comes before newcomers are sent to look up
 *   REREAD_REPLICA    the re-read asks a replica                                 (W11)
 *   REREAD_FORGETS    the re-read does not judge the stale entry at hand          (X5)
 *   REREAD_FOR_ALL    the re-read counts for callers that join after it           (X6)
 *   JUDGE_BY_LOOKUP   what acquire gives back is judged by the lookup's reading   (W1)
 *   NO_EPOCH          epochs are not compared
 *   NO_FENCE_COUNTS   an entry counts where there is no fence                     (W9)
 *   STORE_UNSTAMPED   what has no stamp is stored without tags                    (W9)
 *   NO_FLOOR          trimming forgets stamps and does not raise the floor
 *   NO_TIME           stamps of invalidations have no floor of time
 *   NO_REOPEN         a fence that went back is taken as it is                    (W10)
 *   SEEN_BY_EPOCH     what was seen is remembered for each epoch apart            (X1)
 *   INVALIDATE_BLIND  an invalidation does not open a fence that went back        (X2)
 *   DETACH_BEFORE     flights are detached before the command only               (W12)
 *   AWAY_JOINS_ALL    a call that cannot ask Redis joins a computation that began
 *                     before an invalidation                                     (X7)
 *
 * PROMISE=n has only the promise of that number checked.
 */

#ifndef CALLERS
#define CALLERS 2
#endif
#ifndef CHANGES
#define CHANGES 2 /* of the source, each followed by an invalidation of T */
#endif
#ifndef OTHERS
#define OTHERS 0 /* invalidations of other tags */
#endif
#ifndef EVICT
#define EVICT 0
#endif
#ifndef PROMISE
#define PROMISE 0
#endif

#define HARD  1 /* no answer is older than the last hard invalidation before its lookup */
#define FRESH 2 /* no fresh answer is older than the last soft invalidation before its lookup */
#define JOIN  3 /* both hold for joiners, with their call in place of a lookup */
#define HERE  4 /* both hold for calls after an invalidation by the same process */

#define holds(promise, condition) \
	assert((PROMISE != 0 && PROMISE != promise) || (condition))

/* What must happen in some order of events, or the check proves nothing. */
#define reached(what) \
	c_code { static int before; if (!before++) printf("reached: %s\n", what); }

#define max(a, b) ((a) > (b) -> (a) : (b))

/* --- Redis --- */

typedef Fence { byte epoch, c, floor, hard, soft }; /* epoch 0: there is none */
typedef Entry { byte value, epoch, stamp }; /* value 0: absent; else 1 + the version */

Fence primary;
#if defined(FAILOVER) || defined(REPLICA)
#define REPLICATED
Fence replica;
#endif
Entry stored;

inline copy(to, from) {
	to.epoch = from.epoch; to.c = from.c; to.floor = from.floor;
	to.hard = from.hard; to.soft = from.soft
}
inline clear(g) { g.epoch = 0; g.c = 0; g.floor = 0; g.hard = 0; g.soft = 0 }
inline put(to, from) { to.value = from.value; to.epoch = from.epoch; to.stamp = from.stamp }
inline none(e) { e.value = 0; e.epoch = 0; e.stamp = 0 }

/* --- What no process sees --- */

byte source; /* the version of the source */
byte epochs; /* how many there were: they are random, so none comes twice */
byte top;    /* the largest stamp of all */
byte begun;  /* callers */

/* The last version that was invalidated hard (gone), and hard or soft (old). Each exists twice: gone
 * and old forget an invalidation that a failover has lost; goneTruly and oldTruly, with its stamp,
 * do not. The promise to a process that has seen the stamp is about the latter. */
byte gone, old;
byte goneTruly, goneAt, oldTruly, oldAt;
#ifdef FAILOVER
byte replicaGone, replicaOld;
bool failed;
#endif

/* --- What processes remember: the largest stamp. The writer's is 0, a stranger's the last. --- */

byte seen[CALLERS + 2];
#ifdef SEEN_BY_EPOCH
#define EPOCHS 8
byte seenOf[(CALLERS + 2) * EPOCHS];
#define went_back(who, g) (g.c < seenOf[(who) * EPOCHS + g.epoch])
#define is_below(who, g, asked) went_back(who, g)
#else
#define went_back(who, g) (g.c < seen[who])
#define is_below(who, g, asked) (g.c < asked) /* what had been seen before the reading was sent */
#endif

inline see(who, in, stamp_) {
#ifdef SEEN_BY_EPOCH
	seenOf[(who) * EPOCHS + in] = max(seenOf[(who) * EPOCHS + in], stamp_);
#endif
	seen[who] = max(seen[who], stamp_)
}

/* --- The scripts --- */

#ifdef NO_TIME
#define time_floor 0
#else
#define time_floor top
#endif
#ifdef NO_REOPEN
#define reopens false
#else
#define reopens true
#endif
#ifdef INVALIDATE_BLIND
#define looks false
#else
#define looks true
#endif

inline open_fence(who, makes, looks_back) {
	if
	:: (primary.epoch == 0 && makes) || (primary.epoch != 0 && looks_back && reopens && went_back(who, primary)) ->
		if
		:: primary.epoch != 0 -> reached("open: the fence went back")
		:: else
		fi;
		epochs++;
		primary.c = max(max(primary.c, seen[who]), time_floor) + 1;
		primary.epoch = epochs;
		primary.floor = primary.c;
		top = max(top, primary.c)
	:: else
	fi
}

#define OTHER 0
#define IS_HARD 1
#define IS_SOFT 2
inline on_invalidate(who, how) {
	open_fence(who, true, looks);
	primary.c = max(primary.c, time_floor) + 1;
	top = max(top, primary.c);
	see(who, primary.epoch, primary.c);
	if
	:: how == IS_HARD ->
		primary.hard = primary.c;
		gone = source; goneTruly = source; goneAt = primary.c
	:: how == IS_SOFT -> primary.soft = primary.c
	:: else
	fi;
	if
	:: how != OTHER -> old = source; oldTruly = source; oldAt = primary.c
	:: else
	fi
}

/* --- Readings, and judging by them --- */

mtype = { invalid, stale, valid, again };

#ifdef NO_EPOCH
#define same_epoch(e, g) true
#else
#define same_epoch(e, g) (e.epoch == g.epoch)
#endif

/* The cases of the page, in their order. After the last reading nothing is read again. */
inline judge(who, e, g, last) {
	if
	:: e.value == 0 -> verdict = invalid
#ifdef NO_FENCE_COUNTS
	:: e.value != 0 && g.epoch == 0 -> verdict = valid
#else
	:: e.value != 0 && g.epoch == 0 -> verdict = invalid
#endif
#ifdef STORE_UNSTAMPED
	:: e.value != 0 && g.epoch != 0 && e.epoch == 0 -> verdict = valid
	:: e.value != 0 && g.epoch != 0 && e.epoch != 0 ->
#else
	:: e.value != 0 && g.epoch != 0 ->
#endif
		verdict = (!last && reopens && is_below(who, g, asked) -> again :
			(!same_epoch(e, g) -> invalid :
			(e.stamp > g.c -> (last -> invalid : again) :
			(e.stamp < g.floor || g.hard > e.stamp -> invalid :
			(g.soft > e.stamp -> stale : valid)))));
		if
		:: verdict == again && !is_below(who, g, asked) -> reached("judge: a stamp above the reading's")
		:: verdict == again && is_below(who, g, asked) -> reached("judge: a reading below what was seen")
		:: else
		fi
	fi;
	if
	:: g.epoch != 0 -> see(who, g.epoch, g.c)
	:: else
	fi
}

/* By a script on the primary. */
inline judge_again(who, e) {
	if
	:: e.value != 0 && e.epoch != 0 && e.epoch == primary.epoch -> see(who, e.epoch, e.stamp)
	:: else
	fi;
	open_fence(who, false, true);
	judge(who, e, primary, true)
}

/* A plain read, of any server. */
inline read_fence(g) {
	if
	:: copy(g, primary)
#ifdef REPLICA
	:: copy(g, replica)
#endif
	fi
}

/* What is promised to a call whose lookup is sent now. Invalidations that this process has seen count
 * in any case; the others count unless a failover loses them before the answer. */
typedef Promise { byte gone, old; bool seenGone, seenOld };

#ifdef REPLICA
#define unseen(version) 0
#else
#define unseen(version) version
#endif
#ifdef STRANGER /* may hide from others what they have seen */
#define OTHERS_BY (CALLERS + 1)
#define has_seen(who, stamp) false
#else
#define OTHERS_BY 0
#define has_seen(who, stamp) (stamp != 0 && seen[who] >= stamp)
#endif
inline promise(who, p) {
	p.seenGone = has_seen(who, goneAt);
	p.seenOld = has_seen(who, oldAt);
	p.gone = (p.seenGone -> goneTruly : unseen(gone));
	p.old = (p.seenOld -> oldTruly : unseen(old))
}
inline forget(p) { p.gone = 0; p.old = 0; p.seenGone = false; p.seenOld = false }
#define not_gone(p) (p.seenGone || p.gone < gone -> p.gone : gone)
#define not_old(p)  (p.seenOld || p.old < old -> p.old : old)
#define not_older(value, version) (value - 1 >= version)

/* --- The process of caller 1 --- */

#if defined(JOINER) || defined(AWAY)
#define here(who) ((who) == 1)
#else
#define here(who) false
#endif
bool joinable;  /* its computation may be joined without a lookup */
bool token;    /* its token is in Redis: acquire finds it, and then its computation is joined */
bool running;   /* its function has begun */
bool joined;    /* a call has joined it, before the re-read */
bool reread;    /* the re-read was sent, or left out */
byte result;    /* the value that it ends with */
bool at_hand;   /* that is the stale entry */
mtype confirmed; /* what the re-read says of it, in the end */

#ifdef LATE
#define flies(who) ((who) == 1)
#else
#define flies(who) false
#endif
bool outdated;  /* since its computation began, this process has invalidated the tag */

bool flying;    /* its lookup may be joined */
byte answer;    /* what that has found, with */
mtype landed;   /* what it is worth, in the end */

proctype caller(byte who) {
	Fence g;
	Entry e, hand;
	Promise p;
	byte epoch, stamp;
	byte asked; /* the largest stamp seen before the lookup was sent */
	mtype verdict;
	bool failing;

	/* Callers are alike, so let them begin in the order of their numbers. */
	atomic {
		begun == who - 1 -> begun = who;
#ifdef REPLICATED
		if
		:: true
		:: primary.epoch != 0 -> see(who, primary.epoch, primary.c) /* by a message, or a call before */
		fi
#endif
	};

	/* Look up: the first of two reads, in either order. */
	atomic {
		promise(who, p);
		asked = seen[who];
		flying = flies(who);
		if
		:: put(e, stored)
		:: goto read_first
		fi
	};
	atomic { read_fence(g); goto judging };
read_first:
	atomic { read_fence(g) };
	atomic { put(e, stored) };
judging:
	atomic {
		epoch = g.epoch; stamp = g.c;
#ifdef REPLICATED
		if
		:: true
		:: primary.epoch != 0 -> see(who, primary.epoch, primary.c) /* by another call, meanwhile */
		fi;
#endif
		judge(who, e, g, false);
		asked = 0;
#ifndef JUDGE_BY_LOOKUP
		clear(g);
#endif
		if
		:: verdict != again -> goto judged
		:: else
		fi
	};
	atomic { judge_again(who, e) };
judged:
	atomic {
		holds(HARD, verdict == invalid || not_older(e.value, not_gone(p)));
		holds(FRESH, verdict != valid || not_older(e.value, not_old(p)));
		if
		:: flies(who) -> answer = e.value; landed = verdict; flying = false
		:: else
		fi;
		forget(p);
		if
		:: verdict == valid -> goto over
		:: verdict == stale -> reached("judge: stale at most"); goto over /* served */
		:: verdict == stale -> put(hand, e)
		:: verdict == invalid
		:: verdict == invalid -> goto end_wait
		fi;
		none(e); clear(g);
		goto leased
	};

	/* Other callers compute. In the end acquire gives back what one of them has stored. */
end_wait:
	atomic {
		stored.value != 0 && (stored.stamp != e.stamp || stored.epoch != e.epoch) ->
		epoch = 0; stamp = 0;
		promise(who, p);
		put(e, stored)
	};
	atomic {
#ifdef JUDGE_BY_LOOKUP
		judge(who, e, g, true);
#else
		judge_again(who, e);
#endif
		holds(HARD, verdict == invalid || not_older(e.value, not_gone(p)));
		holds(FRESH, verdict != valid || not_older(e.value, not_old(p)));
		if
		:: verdict == valid -> reached("acquire: what it gave back counts")
		:: verdict == invalid -> reached("acquire: what it gave back does not count")
		:: else
		fi;
		goto over
	};

	/* With the lease. */
leased:
	atomic { joinable = here(who) || joinable; token = here(who) || token };
#ifdef CAPTURE_LATE
	atomic { e.value = source + 1; running = here(who) || running };
#endif
	atomic { /* capture */
		if
		:: epoch != 0 /* the lookup's reading will do */
		:: true -> open_fence(who, true, true);
			see(who, primary.epoch, primary.c);
			epoch = primary.epoch; stamp = primary.c
		:: true -> reached("capture: no answer");
			epoch = 0; stamp = 0
		fi
	};
#ifndef CAPTURE_LATE
	atomic { e.value = source + 1; running = here(who) || running };
#endif
	atomic {
		e.epoch = epoch; e.stamp = stamp;
		epoch = 0; stamp = 0;
		if
		:: true
		:: hand.value != 0 -> failing = true; put(e, hand) /* serve that */
		fi;
		none(hand)
	};

	/* Renew, and perhaps find out that no caller may have the value. */
	atomic {
		if
		:: true
		:: e.epoch != 0 && !failing ->
			judge_again(who, e);
			if
			:: verdict == invalid ->
				reached("renew: overtaken, the lease is given back");
				if
				:: here(who) -> joinable = false; token = false; result = e.value; confirmed = invalid
				:: else
				fi;
				goto over
			:: else
			fi
		fi;
		verdict = 0
	};

	/* Settle: send newcomers to look up. Re-read if calls have joined, or to keep the value near. */
#ifndef REREAD_EARLY
	atomic { joinable = joinable && !here(who) };
#endif
	atomic {
		reread = here(who) || reread;
		if
		:: here(who) && !joined && !joinable
		:: here(who) ->
			if
			:: e.epoch == 0 -> verdict = invalid
			:: e.epoch != 0 -> verdict = invalid /* no answer */
			:: e.epoch != 0 ->
#ifdef NO_REREAD
				verdict = valid
#else
#ifdef REREAD_FORGETS
				if
				:: failing -> verdict = stale
				:: !failing -> judge_again(who, e)
				fi
#else
#ifdef REREAD_REPLICA
				judge(who, e, replica, true)
#else
				judge_again(who, e)
#endif
#endif
#endif
			fi;
			if
			:: verdict == valid && failing -> verdict = stale
			:: else
			fi
		:: else
		fi
	};
	atomic {
		if
		:: here(who) -> joinable = false; result = e.value; at_hand = failing; confirmed = verdict
		:: else
		fi;
		verdict = 0
	};
	atomic { /* store */
		if
#ifdef STORE_UNSTAMPED
		:: !failing -> put(stored, e)
#else
		:: !failing && e.epoch != 0 -> put(stored, e)
#endif
		:: else
		fi;
		token = token && !here(who)
	};
over:
	atomic {
		clear(g); none(e); none(hand);
		verdict = 0; forget(p); epoch = 0; stamp = 0; failing = false
	}
}

#ifdef JOINER
/* A call in the process of caller 1, that joins its computation: without a lookup, or because
 * acquire finds its token. */
proctype joiner() {
	Promise p;
	bool early, late;
end:	atomic {
		joinable || token ->
		early = !running;
#ifndef REREAD_FOR_ALL
		late = reread && !joinable;
#endif
		joined = joined || !late;
		promise(1, p)
	};
end_of_1:
	atomic {
		confirmed != 0 ->
		if
		:: late -> reached("join: after the re-read, the joiner decides again")
		:: !late && early && !at_hand -> /* it called before the function, and is given the value */
			reached("join: before the function");
			holds(JOIN, not_older(result, not_gone(p)) && not_older(result, not_old(p)))
		:: !late && !(early && !at_hand) ->
			if
			:: confirmed == valid -> reached("join: the value is shared")
			:: confirmed == stale -> reached("join: the value is shared as stale")
			:: confirmed == invalid -> reached("join: the joiner decides again")
			fi;
			holds(JOIN, confirmed == invalid || not_older(result, not_gone(p)));
			holds(JOIN, confirmed != valid || not_older(result, not_old(p)))
		fi;
		forget(p)
	}
}
#endif

#if defined(LATE) || defined(AWAY)
#define SAME_PROCESS
byte hereGone, hereOld; /* what the writer, in the process of caller 1, has completed */
#endif

#ifdef AWAY
/* A call in that process that cannot ask Redis, and joins the computation of caller 1. Nothing
 * can be re-read for it. */
proctype away() {
	byte notGone;
end:	atomic {
#ifdef AWAY_JOINS_ALL
		token -> notGone = hereGone
#else
		token && !outdated -> notGone = hereGone
#endif
	};
end_of_1:
	atomic {
		result != 0 -> /* the stale entry at hand is not given to those who joined */
		reached("away: a computation is shared");
		holds(HERE, at_hand || not_older(result, notGone))
	}
}
#endif

#ifdef LATE

/* A call in that process, that joins the lookup of caller 1. */
proctype late() {
	byte notGone, notOld;
end:	atomic { flying -> notGone = hereGone; notOld = hereOld };
end_of_flight:
	atomic {
		landed != 0 ->
		reached("late: a lookup is shared");
		holds(HERE, landed == invalid || not_older(answer, notGone));
		holds(HERE, landed != valid || not_older(answer, notOld))
	}
}
#endif

proctype writer() {
	byte others, how;
	do
	:: source < CHANGES ->
		source++;
		atomic { flying = false; outdated = token };
		atomic {
			if
			:: how = IS_HARD
			:: how = IS_SOFT
			fi;
			on_invalidate(0, how)
		};
		atomic {
#ifdef SAME_PROCESS
#ifndef DETACH_BEFORE
			flying = false;
#endif
			hereGone = (how == IS_HARD -> source : hereGone);
			hereOld = source;
#endif
			how = 0
		}
	:: atomic { others < OTHERS -> others++; on_invalidate(OTHERS_BY, OTHER) }
	:: atomic { source == CHANGES -> others = 0; break }
	od
}

proctype time() {
	byte evictions;
end:	do
	:: atomic { evictions < EVICT && primary.epoch != 0 -> evictions++; clear(primary) }
	:: atomic { stored.value != 0 -> none(stored) }
#ifdef TRIM
	:: atomic {
		primary.hard + primary.soft != 0 ->
#ifndef NO_FLOOR
		primary.floor = max(primary.floor, max(primary.hard, primary.soft));
#endif
		primary.hard = 0; primary.soft = 0
	   }
#endif
#ifdef REPLICATED
	:: atomic {
		replica.epoch != primary.epoch || replica.c != primary.c || replica.floor != primary.floor ->
		copy(replica, primary);
#ifdef FAILOVER
		replicaGone = gone; replicaOld = old
#endif
	   }
#endif
#ifdef FAILOVER
	:: atomic {
		!failed && (replica.epoch != primary.epoch || replica.c != primary.c) ->
		failed = true;
		copy(primary, replica);
		gone = replicaGone; old = replicaOld
	   }
#endif
	od
}

init {
	byte n = 1;
	atomic {
		epochs = 1; top = 1;
		primary.epoch = 1; primary.c = 1; primary.floor = 1;
		stored.value = 1; stored.epoch = 1; stored.stamp = 1;
#ifdef REPLICATED
		copy(replica, primary);
#endif
		do
		:: n <= CALLERS -> run caller(n); n++
		:: else -> break
		od;
		n = 0;
		run writer();
#ifdef JOINER
		run joiner();
#endif
#ifdef LATE
		run late();
#endif
#ifdef AWAY
		run away();
#endif
		run time()
	}
}
