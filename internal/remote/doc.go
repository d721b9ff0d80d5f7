// Package remote sends commands to one Redis: a single server, a Sentinel group or a
// Redis Cluster. It remembers which nodes are away, and classifies errors. It knows
// nothing of caching.
//
// # Lanes
//
// Each node has two lanes, for small and for large commands, and each lane has a few
// seats (lane.go). A seat stands for a connection in use: it is taken while a flight, one
// command or one pipeline, is under way. The connections are those of the client's
// own pool. So an idle lane holds no connection, and the lanes have no more seats than the
// pool has connections.
//
// A command is in one of these states:
//
//	new       not in a lane          → boarded, queued, done (refused: the node is away)
//	queued    waits in its lane      → boarded, done (node away, closed), new (withdrawn)
//	boarded   in a flight            → done, queued (to be sent again)
//	done      its result is set, and never changes
//
// A seat is free, or has one flight. A command that finds a free seat and an empty queue
// boards at once. If it is a lookup, its caller's goroutine sends it: that costs as much as the bare
// command. A script has a goroutine of its own. Otherwise the command is queued. When a flight lands and commands are queued,
// they take its seat together, as one pipeline. One of their callers, the leader, sends it.
// A caller leads at most once, because its own command is in the pipeline. So each caller
// is woken once, and no caller serves others for long.
//
// In the queue urgent commands (Limits.Urgent) go before all others. They end something
// that was begun, such as a lease. If they waited behind commands that begin something, a
// busy process would begin more than it can end in time.
//
// A goroutine inside go-redis cannot be interrupted while it reads from a socket.
// Therefore a caller's goroutine sends a flight only while the node is calm: its
// last flights took less than a tick (a tenth of the timeout). So a caller that
// cancels returns late by about a tick, or by the timeout if the node has just
// stopped. A caller whose context has a deadline within the timeout never sends.
// When the node is not calm, and always in the large lane, flights have goroutines
// of their own and callers wait under their own contexts. The same is done after a hook
// of the client has ended the goroutine of a caller that was sending.
//
// # What failures do
//
// The effect of a failure depends on where the command is:
//
//   - Queued, and the caller cancels: the command leaves the queue, and nothing stays. If it
//     was sent before and its connection broke, the error says that it may have run.
//   - Queued, and the node goes away: the command is done with that error immediately.
//   - Boarded, and the caller cancels: the flight continues for the others. If the caller
//     was to lead and has not begun, a new goroutine leads.
//   - Boarded, not sent, and no connection is free: the pool is full, or too many files are
//     open. This process is busy, and the commands return to the front of the queue.
//   - Boarded, not sent, and connecting fails in another way: the node is away.
//   - Boarded, not sent, and the node goes away, or the Remote is closed: the command is done
//     immediately, and its flight is withdrawn. go-redis may be about to write it, if this process
//     is slow; then writing fails. If the flight continues for its reads, its writes are done
//     with an error that says that they may have run.
//   - Sent, and the connection breaks: the command is sent again, up to maxBreaks times in
//     all, because every command may be repeated. A command that may be sent only once is done,
//     with an error that says it may have run.
//   - Sent, and the socket's deadline passes: the command is sent again, up to maxSendings
//     times in all. A read then goes in the large lane, because its answer may be large.
//     The watchdog judges the node; a deadline alone does not.
//     If this process was late meanwhile, that sending does not count, because the answer may
//     have arrived. For a read in the large lane the process must have been late for most of
//     the time.
//   - Sent, and go-redis continues to read, because the client has long timeouts and cannot
//     be cloned: the flight loses its seat after twice the timeout. Its writes are done
//     then, with an error that says that they may have run. Its reads wait up to longest.
//   - Sent, and the node goes away: the command is done immediately, with an error that says
//     that it may have run. The flight is an orphan: when it lands, its results are ignored.
//   - A hook of the client panics, ends the goroutine, or sends nothing and
//     returns no error: the command is done with an error that names the hook, unless its
//     answer was there. The error of a hook is examined while no lock is held, because its
//     methods may panic.
//   - Answered NOSCRIPT: sent again with the text of the script.
//   - Answered MOVED or ASK: moved to the lane of the cluster client, which follows.
//   - Answered in any other way: done.
//
// # Away
//
// The state of a node is kept for reads and for writes: up, or away. The behaviour of the
// server decides it. A node is away if:
//
//   - it says so: LOADING, MASTERDOWN, READONLY (to writes), and so on (kinds.go);
//   - connecting to it fails, and it has answered nothing since the attempt began; or
//     connecting takes nearly two timeouts while the pool has room and nothing else is answered;
//   - it has answered nothing at all for the timeout, though something small was sent;
//   - it has answered only reads, though something small was written. Then it is away for
//     writes: a server pauses them for a failover. An answer to a write counts for reads too.
//
// The watchdog judges the last two. It ticks ten times per timeout, but at most every 2 ms,
// while commands are under way. It counts the ticks that came on time and found that
// something was unanswered and that nothing was answered since the tick before. A late tick
// shows that this process did not get the processor, and counts for nothing. Each tick goes
// to the end of the scheduler's queue before it judges, so that answers which have
// arrived are read first. After half the timeout of silence the watchdog sends a
// question of its own on another connection. A large value on a slow link, or one
// half-open connection, does not delay the answer to it. So a large command proves nothing.
//
// A node that answers each command later than the timeout answers nothing in time. The
// socket's deadline ends each flight, and the silence continues.
//
// A Cluster client sends by itself what is redirected, and what no node is known for. That
// lane is away only while no node of the Cluster is known to answer.
//
// While a node is away its commands are refused at once, and one goroutine asks it about
// once a second (at random, half a second to one and a half). It stops when an answer shows
// that the node is back, or when the cluster client no longer knows the node. Nodes of a
// Cluster that got no command for a minute are forgotten, because they may have left.
package remote
