// Package redistest starts real Redis servers for tests: a single server ([Start], [Shared]), a
// replica of a server ([StartReplica]), a Redis Cluster of three primaries ([StartCluster]) and a
// Sentinel group ([StartSentinel]). [Cluster.AddReplica] adds a replica to a Cluster, and
// [Cluster.MigrateSlot] moves a slot. The package also counts what a client sends ([Counter]) and
// what a server receives ([Monitor]).
//
// The servers are processes of the redis-server on the PATH. FNCACHE_REDIS_SERVER in the
// environment may name another server that takes the same options (`make servers` uses it). If
// there is no server, the tests that need one are skipped with the reason, and [ReportSkips] says
// how many were. With FNCACHE_REQUIRE_REDIS=1 in the environment they fail instead, so that CI
// cannot pass without them.
//
// # No server outlives its test
//
// A test binary may end in ways that run no cleanup: a panic in another
// goroutine, -timeout, SIGKILL. Each server therefore runs under a small
// shell, its keeper, that waits on a pipe whose other end only the test binary
// holds. However the binary ends, the kernel closes that end, and the keeper
// kills its server, even one that was paused with SIGSTOP. (Linux's
// parent-death signal is not used: it is sent when the *thread* that started
// the server ends, which in a Go program may be long before the process does,
// and it exists on Linux only.)
//
// # What may run in parallel
//
// Everything here may be called from parallel tests. Each call of a Start function starts servers
// of the test's own. [Shared], [SharedCluster] and [SharedSentinel] give all tests of a binary the
// same servers, and flush them. They are for tests that run one after the other and do not disturb
// the servers.
package redistest
