// Package history runs a small fleet on fncache against a real Redis while it is
// killed, paused and cut off, records what happened, and checks it.
//
// # A round
//
// A seed makes a round: some functions with options of their own, a few
// arguments each, worker processes, and in them clients that call, invalidate,
// refresh, and change the source that the functions read. Meanwhile workers are
// killed and replaced, stopped with SIGSTOP and let go on, cut off from Redis by
// a forwarder that each has to itself ([link]), and Redis is stopped and
// restarted empty. Then the faults stop, and for some seconds it is calm: what they
// excuse is over, and everything is required. The workers end, and the records are
// read.
//
// The same seed makes the same decisions, in the same order in each client; how they
// interleave, the operating system decides, so a seed need not break a rule again.
// The records do: those of a round that breaks one are kept, with its plan, in a
// directory that the failure names (below that of -keep, else below the temporary
// one), and
//
//	go test -run TestHistories . -args -check DIR
//
// checks them once more without running anything. So a rule can be questioned, or a
// bug looked for, with the very history that showed it. -duration says how long new
// rounds are run, -seed which is the first, -length how long one is.
//
// A cell is one function with one argument: what has one entry and one lock. Its
// source is a number in memory that all processes share. A change adds one and
// then invalidates. A computation reads the number when it begins, so a value
// names the computation that it comes from, and that computation's beginning is
// how old the value is.
//
// # What is recorded
//
// Calls and their answers, invalidations, changes, runs of the functions, and,
// by a hook of go-redis, what was sent to Redis and what it replied ([event]).
// Every record has a place in one order: a counter in the shared memory, taken
// before what it stands for begins, or after it has ended. So of two records the
// one with the smaller number can never be taken for later than it was, and no
// rule below depends on how clocks agree. Durations are of CLOCK_MONOTONIC,
// which all processes of one machine share.
//
// # What is checked
//
// The rules are in rules.go and joined.go, each with its reason. They draw no
// conclusion that a slow machine could make false: a rule speaks only where the records
// leave no other explanation. In protocol.go the same records, seen as operations on one
// lock and one entry, are given to porcupine, which looks for an order in which
// a server could have executed them. It is given a history in pieces that are cut
// where the state is known, for its time grows fast with their length. What is sent again
// is a command of its own: go-redis itself sends nothing twice.
//
// A computation without a lease is excused by what is recorded of its own process:
// a lease that it was told is held, an error that it met, a node that can be away
// yet (excuse.go).
//
// # How much was checked
//
// A run ends with a table ([tally]): how often each rule had something to judge, how
// many computations had which excuse, for how many commands porcupine found no answer
// in its time. Of a rule that has judged nothing, a run shows nothing: from a minute
// on it fails then, and if more than a tenth of the commands has no answer.
//
// # That it catches bugs
//
// A mutant is fncache with one guard taken out of a script, one that asks Redis no
// more after an error, or one that does not hear that it has lost a lease. It is made
// on the way to Redis, by a go-redis hook, so there is no trace of it in the library.
// See TestMutants.
package history
