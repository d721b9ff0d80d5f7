// Package history runs a small fleet on fncache against a real Redis. The processes are killed,
// paused and cut off; every event is recorded, and the record is checked.
//
// # A round
//
// A seed makes a round: some functions with options of their own, a few arguments each, worker
// processes, and in them clients that call, invalidate, refresh, and change the source that the
// functions read. Meanwhile workers are killed and replaced, stopped with SIGSTOP and continued,
// and cut off from Redis by a forwarder of their own ([link]). Redis is stopped and restarted
// empty. Then the faults stop, and some calm seconds follow. In these the excuses of the faults
// end, and every rule applies in full. The workers end, and the records are read.
//
// The same seed makes the same decisions, in the same order in each client. The operating
// system decides how clients interleave, so a seed need not break a rule again. The records do.
// Those of a round that breaks a rule are kept with its plan in a directory that the failure
// names (below that of -keep, otherwise below the temporary one), and
//
//	go test -run TestHistories . -args -check DIR
//
// checks them again without running anything. So a rule or a bug can be studied with the
// history that showed it. -duration says how long new rounds are run, -seed gives the first
// seed, -length the duration of a round.
//
// Some functions have tags, and one function calls all of these. The fence of tags has faults of
// its own: it is deleted, loses a field, is trimmed, or goes back to an earlier state.
//
// A cell is one function with one argument: it has one entry and one lock. Its source is a
// number in memory that all processes share. A change adds one and then invalidates. A
// computation reads the number when it begins. A value names its computation, so the age of a
// value is the age of that computation's beginning.
//
// # The record
//
// The record has calls and their answers, invalidations, changes, runs of the functions, and, by a
// hook of go-redis, commands to Redis and its replies ([event]). Every record has a place in one
// order: a counter in the shared memory, taken before the recorded event begins, or after it has
// ended. So an order of two records never contradicts the order of their events, and no rule below
// depends on how clocks agree. Durations are of CLOCK_MONOTONIC, which all processes of one machine
// share.
//
// # The checks
//
// The rules are in rules.go, joined.go and tags.go, each with its reason. A rule reports only what
// has no other explanation in the records, so a slow machine breaks no rule. In protocol.go the
// same records, seen as operations on one lock and one entry, are given to porcupine, which looks
// for an order in which a server could have executed them. Each history is cut into pieces where
// the state is known, because porcupine's time grows fast with their length. Each sending is a
// command of its own, because go-redis itself sends nothing twice here.
//
// A computation without a lease is excused by records of its own process: a reply that the
// lease is held, an error, or a node that can still be away (excuse.go).
//
// # Coverage
//
// A run ends with a table ([tally]): how often each rule had something to judge, how many
// computations had which excuse, and for how many commands porcupine found no answer in its
// time. A run of a minute or more fails if a rule had nothing to judge, or if more than a tenth
// of the commands has no answer.
//
// # Mutants
//
// A mutant is fncache with one guard removed from a script, or with one reply ignored: it never
// asks Redis again after an error, or does not notice that it has lost a lease. A go-redis hook
// makes the change, so the library has no code for it. See TestMutants. The script seeded.sh
// applies patches to a copy of the library, and requires that a rule is broken.
package history
