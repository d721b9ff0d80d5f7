/* How an invalidation by one release of a function reaches what another release stores:
 * lock_register.lua, lock_releases.lua and lock_invalidate.lua, and what releases.go and
 * compute.go do around them. docs/protocol.md describes it; `make model` checks it.
 *
 * The writer is of one release, and the callers are of another. Their entries are different
 * keys, so only the entry and the lock of the callers' release are modelled. The protocol of
 * one release is in lease.pml: here a caller looks up, acquires, computes and stores, and
 * time may end a lease or an entry at any moment.
 *
 * Left out: a registry that is lost (see the page).
 *
 * Macros that take a guard out, each of which must make the check fail:
 *
 *   REGISTER_LATE   a release is registered after the function has run
 *   STORE_ANYWAY    a result is stored although its release could not be registered
 *   READ_EARLY      the registry is read before the source is changed
 *   OWN_ONLY        an invalidation deletes the writer's own entry and lock only
 */

#ifndef CALLERS
#define CALLERS 3
#endif
#define CHANGES 2

byte source;      /* the version of the source */
byte invalidated; /* the last version whose invalidation has completed */
bool registered;  /* the callers' release is in the registry */
byte entry;       /* what it has stored, as 1 + the version; 0: nothing */
byte lock;        /* the caller that holds the lease; 0: free */
byte begun;

#define reached(what) \
	c_code { static int before; if (!before++) printf("reached: %s\n", what); }

proctype caller(byte me) {
	byte result;
	bool storable;
	atomic {
		begun == me - 1 -> begun = me;
		if
		:: entry != 0 ->
			assert(entry - 1 >= invalidated);
			goto over /* served */
		:: entry == 0
		fi
	};
	atomic {
		if
		:: lock == 0 -> lock = me
		:: else -> goto over
		fi
	};
#ifndef REGISTER_LATE
	atomic {
		if
		:: registered = true; storable = true
		:: reached("register: it fails") /* its reply may be lost, too */
		:: registered = true; reached("register: its reply is lost")
		fi
	};
#endif
	result = source; /* the function runs */
#ifdef REGISTER_LATE
	registered = true;
	storable = true;
#endif
#ifdef STORE_ANYWAY
	storable = true;
#endif
	atomic {
		if
		:: lock == me && storable -> entry = result + 1; lock = 0
		:: lock == me && !storable -> lock = 0
		:: lock != me -> reached("store: the lease was lost")
		fi
	};
over:	skip
}

proctype writer() {
	bool seen;
	do
	:: source < CHANGES ->
#ifdef READ_EARLY
		seen = registered;
#endif
		source++;
#ifndef READ_EARLY
		seen = registered;
#endif
		atomic {
			if
#ifndef OWN_ONLY
			:: seen -> entry = 0; lock = 0
#endif
			:: else -> reached("invalidate: the other release is not known")
			fi;
			invalidated = source
		}
	:: else -> break
	od
}

proctype time() {
end:	do
	:: atomic { lock != 0 -> lock = 0 }
	:: atomic { entry != 0 -> entry = 0 }
	od
}

init {
	byte n = 1;
	atomic {
		do
		:: n <= CALLERS -> run caller(n); n++
		:: else -> break
		od;
		n = 0;
		run writer();
		run time()
	}
}
