/* Nested calls and the near cache, as docs/protocol.md has them; `make model` checks it. The
 * cached function O calls the cached function I, whose entry carries the tag T and is kept
 * near. O has no tag of its own and inherits T. How one entry is judged is in fence.pml:
 * here the fence does not go back, and neither lease nor joiners of O are needed.
 *
 *   - callers of I, in one process, look up or compute, and keep what they have near;
 *   - callers of O, in that process, look up, and serve, or compute: note the place,
 *     capture, call I, re-read, store, keep near. The call of I is answered near, by a hit,
 *     by a stale entry, by a computation of its own or one that it joins, without Redis, or
 *     with an error that O replaces by a default;
 *   - a writer in another process changes the source and then invalidates or expires T; the
 *     message is heard at any time later;
 *   - the fence is evicted (EVICT times), and any entry.
 *
 * Macros that take a guard out, each of which must make the check fail:
 *
 *   PLACE_LATE      the place of what is computed is noted when it is kept   (W2)
 *   NEAR_UNSTAMPED  a near hit does not lower the stamp                      (W3)
 *   KEEP_PRESENT    what is kept near has the stamp of that moment           (W15)
 *   AWAY_STAMPED    an answer without a stamp does not lower the stamp       (W4)
 *   TAGS_LATE       tags are inherited with a value only                     (W5)
 *   STALE_AS_HIT    a stale answer has the stamp of its reading              (W8)
 *   JOIN_AS_HIT     a joined computation has the stamp of its re-read        (W8)
 *   EPOCHS_MIXED    stamps of another epoch are compared too                 (X4)
 *
 * NO_TIME: stamps have no floor of time. PROMISE=n has only the promise of that number
 * checked.
 */

#ifndef OUTER
#define OUTER 2
#endif
#ifndef INNER
#define INNER 1
#endif
#ifndef CHANGES
#define CHANGES 1 /* of the source, each followed by an invalidation of T */
#endif
#ifndef EVICT
#define EVICT 0
#endif
#ifndef PROMISE
#define PROMISE 0
#endif

#define HARD  1 /* no entry of O counts that is older than the last hard invalidation before its lookup */
#define FRESH 2 /* no entry of O is fresh that is older than the last soft invalidation */
#define NEAR  3 /* no near answer is older than the last message that this process has heard */

#define holds(promise, condition) \
	assert((PROMISE != 0 && PROMISE != promise) || (condition))

/* What must happen in some order of events, or the check proves nothing. */
#define reached(what) \
	c_code { static int before; if (!before++) printf("reached: %s\n", what); }

#define max(a, b) ((a) > (b) -> (a) : (b))
#define min(a, b) ((a) < (b) -> (a) : (b))

/* --- Redis --- */

typedef Fence { byte epoch, c, hard, soft };
typedef Entry { byte value, epoch, stamp; bool tagged }; /* value 0: absent; else 1 + the version */

Fence fence;
Entry inner_entry, outer_entry;

inline put(to, from) {
	to.value = from.value; to.epoch = from.epoch; to.stamp = from.stamp; to.tagged = from.tagged
}
inline none(e) { e.value = 0; e.epoch = 0; e.stamp = 0; e.tagged = false }
inline read_fence(g) { g.epoch = fence.epoch; g.c = fence.c; g.hard = fence.hard; g.soft = fence.soft }
inline clear(g) { g.epoch = 0; g.c = 0; g.hard = 0; g.soft = 0 }

/* --- What no process sees --- */

byte source;    /* the version of the source */
byte gone, old; /* the last version that was invalidated hard, and hard or soft */
byte epochs;
byte top;       /* the largest stamp of all */
byte begun;

/* --- The process --- */

/* What is kept near until it is overtaken. A value that is already overtaken is not kept. */
Entry inner_near;
byte outer_near;
byte marks;     /* messages about T that were heard */
byte heard_gone, heard_old;
bool was_hard[CHANGES + 1];
Entry running;  /* a computation of I that may be joined */

#define not_older(value, version) (value - 1 >= version)
#define near_holds(value) holds(NEAR, not_older(value, heard_gone) && not_older(value, heard_old))

#ifdef NO_TIME
#define time_floor 0
#else
#define time_floor top
#endif

inline open_fence() {
	if
	:: fence.epoch == 0 ->
		epochs++;
		fence.epoch = epochs;
		fence.c = time_floor + 1;
		top = max(top, fence.c)
	:: else
	fi
}

mtype = { invalid, stale, valid };

inline judge(e, g) {
	verdict = (e.value == 0 -> invalid :
		(!e.tagged -> valid :
		(g.epoch == 0 || g.epoch != e.epoch || e.stamp > g.c || g.hard > e.stamp -> invalid :
		(g.soft > e.stamp -> stale : valid))))
}

/* Captures, before the function. What is kept near has the place that was noted before the capture. */
inline capture(e) {
	open_fence();
	e.epoch = fence.epoch;
	e.stamp = fence.c
}

proctype inner() {
	Fence g;
	Entry e;
	byte place;
	mtype verdict;

	atomic {
		place = marks;
		if
		:: goto compute
		:: read_fence(g)
		fi
	};
	atomic {
		put(e, inner_entry);
		judge(e, g);
		if
		:: verdict == valid -> e.epoch = g.epoch; e.stamp = g.c; goto keep
		:: else -> goto over
		fi
	};
compute:
	atomic { clear(g); capture(e) };
	atomic { e.value = source + 1; e.tagged = true; put(running, e) };
	atomic { none(running); read_fence(g); judge(e, g) };
	atomic { put(inner_entry, e); if :: verdict != valid -> goto over :: else fi };
#ifdef PLACE_LATE
	atomic { place = marks };
#endif
keep:
	atomic {
		if
		:: place == marks ->
			put(inner_near, e);
#ifdef KEEP_PRESENT
			inner_near.stamp = fence.c
#endif
		:: else -> reached("inner: overtaken by a message")
		fi
	};
over:
	atomic { clear(g); none(e); place = 0; verdict = 0 }
}

/* The stamp of an answer may only lower that of the frame. */
inline lower(in, to) {
#ifdef EPOCHS_MIXED
	e.stamp = min(e.stamp, to)
#else
	e.stamp = (in != e.epoch -> 0 : min(e.stamp, to))
#endif
}

proctype outer(byte who) {
	Fence g;
	Entry e, i;
	byte place;
	mtype verdict;

	atomic {
		begun == who - 1 -> begun = who;
		if
		:: outer_near != 0 -> reached("outer: near"); near_holds(outer_near); goto over
		:: true
		fi;
		read_fence(g);
		put(e, outer_entry);
		judge(e, g);
		holds(HARD, verdict == invalid || not_older(e.value, gone));
		holds(FRESH, verdict != valid || not_older(e.value, old));
		if
		:: verdict == valid -> reached("outer: a hit"); goto over
		:: verdict == stale -> reached("outer: stale at most")
		:: verdict == invalid
		fi;
		none(e); clear(g);
		verdict = 0;
		place = marks
	};
	atomic { capture(e) };

	/* The function of O: it calls I. Its rendered tags come first. */
	atomic {
#ifndef TAGS_LATE
		e.tagged = true;
#endif
		if
		:: inner_near.value != 0 ->
			reached("inner: near");
			near_holds(inner_near.value);
			e.value = inner_near.value; e.tagged = true;
#ifndef NEAR_UNSTAMPED
			lower(inner_near.epoch, inner_near.stamp);
#endif
			goto returned
		:: running.value != 0 -> put(i, running); goto joined
		:: true -> reached("inner: computed"); e.value = source + 1; e.tagged = true; goto returned
		:: true -> reached("inner: an error"); e.value = source + 1; goto returned
		:: true -> /* by a computation that began long ago, or what was kept near */
			reached("inner: without a stamp");
			e.value = 1; e.tagged = true;
#ifndef AWAY_STAMPED
			lower(e.epoch, 0);
#endif
			goto returned
		:: true -> read_fence(g)
		fi
	};
	atomic {
		put(i, inner_entry);
		judge(i, g);
		if
		:: verdict == invalid -> goto over /* computed: as above */
		:: verdict == valid ->
			reached("inner: a hit");
			lower(g.epoch, g.c)
		:: verdict == stale ->
			reached("inner: stale");
#ifdef STALE_AS_HIT
			lower(g.epoch, g.c)
#else
			lower(i.epoch, i.stamp)
#endif
		fi;
		e.value = i.value; e.tagged = true;
		goto returned
	};
joined:
	atomic {
		read_fence(g);
		judge(i, g);
		if
		:: verdict == invalid -> goto over /* decides again: as above */
		:: else
		fi;
		reached("inner: joined");
#ifdef JOIN_AS_HIT
		lower(g.epoch, g.c);
#else
		lower(i.epoch, i.stamp);
#endif
		e.value = i.value; e.tagged = true
	};
returned:
	atomic {
		none(i); clear(g); verdict = 0;
		if
		:: e.tagged && e.stamp == 0 -> goto over /* not stored */
		:: else
		fi
	};
	atomic { read_fence(g); judge(e, g) };
	atomic {
		put(outer_entry, e);
		if
		:: verdict == valid && place == marks -> outer_near = e.value
		:: else
		fi
	};
over:
	atomic { clear(g); none(e); none(i); place = 0; verdict = 0 }
}

proctype writer() {
	do
	:: source < CHANGES ->
		source++;
		atomic {
			open_fence();
			fence.c = max(fence.c, time_floor) + 1;
			top = max(top, fence.c);
			if
			:: fence.hard = fence.c; gone = source; was_hard[source] = true
			:: fence.soft = fence.c
			fi;
			old = source
		}
	:: else -> break
	od
}

proctype time() {
	byte evictions;
end:	do
	:: atomic {
		marks < old ->
		marks++;
		none(inner_near);
		outer_near = 0;
		heard_old = marks;
		heard_gone = (was_hard[marks] -> marks : heard_gone)
	   }
	:: atomic { evictions < EVICT && fence.epoch != 0 -> evictions++; clear(fence) }
	:: atomic { inner_entry.value != 0 -> none(inner_entry) }
	:: atomic { outer_entry.value != 0 -> none(outer_entry) }
	od
}

init {
	byte n = 1;
	atomic {
		epochs = 1; top = 1;
		fence.epoch = 1; fence.c = 1;
		inner_entry.value = 1; inner_entry.epoch = 1; inner_entry.stamp = 1; inner_entry.tagged = true;
		do
		:: n <= OUTER -> run outer(n); n++
		:: else -> break
		od;
		n = 1;
		do
		:: n <= INNER -> run inner(); n++
		:: else -> break
		od;
		n = 0;
		run writer();
		run time()
	}
}
