// Package faults proves that fncache stays up while Redis does not. Its tests run a fleet of
// callers on real servers, and cause the faults of real servers and networks.
//
// It is a module of its own, so that the dependencies of the tests (a proxy that misbehaves on
// purpose) stay out of the library's go.mod. It has no API.
//
//	fleet_test.go     the callers, what they note, and what must hold of it
//	watch_test.go     what is seen of computations, and of what is said to Redis
//	rules_test.go     which computations were not alone, and what is the oldest
//	                  answer that may be given; judge_test.go shows that they speak up
//	process_test.go   single processes, whose every step is the test's
//	proxy_test.go     the network that misbehaves
//	resetter_test.go  the network that resets connections, which it reads (resp_test.go)
//	fault_test.go     faults of one server and of the way to it
//	reset_test.go     connections reset in the middle of replies
//	slow_test.go      a part of Redis, or of the way to it, that is slow
//	later_test.go     Redis that goes away while a function computes
//	failover_test.go  Sentinel and Cluster
package faults
