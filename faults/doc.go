// Package faults proves that fncache stays up while Redis does not. Its tests run a fleet of
// callers on real servers, and cause the faults of real servers and networks.
//
// It is a module of its own, so that the dependencies of the tests (a proxy that misbehaves on
// purpose) stay out of the library's go.mod. It has no API.
//
//	fleet_test.go     the callers, their records, and what must be true of these
//	watch_test.go     records of computations, and of commands to Redis
//	rules_test.go     which computations were not alone, and the oldest answer that a
//	                  call may get; judge_test.go tests these rules
//	process_test.go   single processes, whose every step the test controls
//	proxy_test.go     the network that misbehaves
//	resetter_test.go  the proxy that resets connections; it parses RESP (resp_test.go)
//	fault_test.go     faults of one server and of the network to it
//	reset_test.go     connections reset in the middle of replies
//	slow_test.go      a part of Redis, or of the network to it, that is slow
//	later_test.go     Redis that goes away while a function computes
//	failover_test.go  Sentinel and Cluster
package faults
