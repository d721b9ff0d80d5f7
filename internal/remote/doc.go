// Package remote is the way to one Redis: a single server, a Sentinel group or a
// Redis Cluster. It sends commands, keeps what is known of each node, and classifies
// what failed. It knows nothing of caching.
//
// # Lanes
//
// Each node has two lanes, for small and for large commands, and each lane has a few
// seats (lane.go). A seat stands for a connection in use: it is taken while a flight, one
// command or one pipeline, is on its way. The connections are those of the client's
// own pool, so the lanes hold none while they are idle, and have no more seats than the
// pool has connections.
//
// A command is in one of these states:
//
//	new       not in a lane          → boarded, queued, done (refused: the node is away)
//	queued    waits in its lane      → boarded, done (node away, closed), new (withdrawn)
//	boarded   in a flight            → done, queued (to be sent again)
//	done      its result is set, and never changes
//
// A seat is free, or has one flight. A command that finds a seat free and nobody
// queued boards at once, and flies on its caller's goroutine: that is the cost of the
// bare command. Otherwise it is queued. When a flight lands and commands are queued,
// they take its seat together, as one pipeline, which one of their own callers sends:
// the leader. A caller leads once at most, because its own command is in the pipeline.
// So each caller is woken once, and no caller serves others for long.
//
// In the queue urgent commands (Limits.Urgent) go before all others. Those end something
// that is begun, such as a lease: if they waited behind what begins more, a process that is
// busy would begin more than it can end in time.
//
// A goroutine inside go-redis cannot be interrupted while it reads from a socket. A
// flight is therefore sent on a caller's goroutine only while the node is calm: its
// last flights took less than a tick (a tenth of the timeout), so a caller that
// cancels is late by that much as a rule, and by the timeout when the node has just
// stopped. A caller whose context has a deadline within the timeout never sends.
// When the node is not calm, and always in the large lane, flights have goroutines
// of their own and callers wait under their own contexts. So they do once a hook of the
// client has ended the goroutine of a caller that was sending.
//
// # What failures do
//
// Where a command is decides what a failure does to it:
//
//   - queued, caller cancels: the command leaves the queue, and nothing stays. If it was
//     sent before, and its connection broke, the error says that it may have run.
//   - queued, node goes away: the command is done with that error, at once.
//   - boarded, caller cancels: the flight goes on for the others. If the caller was to
//     lead and has not begun, a goroutine leads.
//   - boarded, not sent, no connection: the pool is full or too many files are open, so
//     this process is busy and the commands go back to the front of the queue; or connecting
//     fails otherwise, and the node is away.
//   - sent, connection breaks: sent again, up to maxBreaks in all, for all commands
//     have the effect of once. A command that may be sent once only is done, with an
//     error that says it may have run.
//   - sent, the socket's deadline passes: sent again, up to maxSendings in all; a read
//     goes in the large lane then, because its answer may be large. The node is judged
//     by the watchdog, not by this.
//     If this process was late meanwhile, that sending does not count: the answer may
//     have been there. (Of a read in the large lane, if it was for most of the time.)
//   - sent, and go-redis goes on reading, because the client has long timeouts and cannot
//     be cloned: the flight loses its seat after twice the timeout. Its writes are done
//     then, with an error that says that they may have run; its reads wait up to longest.
//   - sent, node goes away: done at once with that error, which says that it may have
//     run, as every error of a command does that was sent before. The flight is an orphan:
//     when it lands nobody looks at it.
//   - sent or not, and a hook of the client panics, ends the goroutine, or sends nothing and
//     says nothing: done with an error that names the hook, unless its answer was there. What
//     a hook returns as an error is looked at before any lock is taken, for its methods may
//     panic.
//   - answered NOSCRIPT: sent again with the text of the script.
//   - answered MOVED or ASK: handed to the lane of the cluster client, which follows.
//   - answered, whatever the answer: done.
//
// # Away
//
// The state of a node is kept for reads and for writes: up, or away. Away is what the
// server does:
//
//   - it says so: LOADING, MASTERDOWN, READONLY (to writes), and so on (kinds.go);
//   - connecting to it fails, and it has answered nothing since that began; or connecting
//     takes nearly two timeouts while the pool has room and nothing else is answered;
//   - it has answered nothing at all for the timeout, though something small was sent;
//   - it has answered reads only, though something small was written: it is away for writes
//     (a server pauses them for a failover). An answer to a write counts for reads too.
//
// The last two are judged by the watchdog, which ticks ten times per timeout, no more
// often than every 2 ms, while commands are on their way. It counts the ticks that came on
// time and found that something was unanswered and nothing was answered since the tick
// before. A tick that is late says
// that this process did not get the processor, and counts for nothing. Each tick goes
// to the end of the scheduler's queue before it judges, so that answers which have
// arrived are read first. After half the timeout of silence the watchdog sends a
// question of its own on another connection: a large value on a slow link, or one
// connection that is half open, keeps no other connection from answering.
// So a large command proves nothing.
//
// A node that answers each command later than the timeout answers nothing in time:
// each flight is cut by the socket's deadline, and the silence goes on.
//
// What is not known to be for one node, and what is redirected, a Cluster client sends by
// itself. That lane is away only while no node of the Cluster is known to answer.
//
// While a node is away its commands are refused at once, and one goroutine asks about
// once a second, give or take half, until an answer shows that it is back, or until the
// cluster client knows the node no more. Nodes of a Cluster that nothing was asked of for a
// minute are forgotten, because they may have left.
package remote
