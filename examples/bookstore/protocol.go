package main

import "time"

// The stampede's processes talk in lines of JSON: the parent writes orders to a
// worker's standard input and reads reports from its standard output. The end of
// the input ends the worker, so that none outlives its parent.

// An order is a line to a worker.
type order struct {
	Do      orderKind
	Backend *backend `json:",omitempty"` // of open
	Burst   *burst   `json:",omitempty"` // of lineUp
}

type orderKind string

// In this order: open, then for each act lineUp and go.
const (
	doOpen    orderKind = "open"     // connect to the database and to Redis; answered by ready
	doLineUp  orderKind = "line up"  // start the callers and hold them back; answered by ready
	doGo      orderKind = "go"       // let them loose; answered by reports up to done
	doCarryOn orderKind = "carry on" // let the query go on that Burst.Hold holds back
)

// A burst is what one worker does in one act.
type burst struct {
	Author   string
	Requests int
	Patience time.Duration // a caller gives up after that
	Call     callee
	// AskAgain: callers who are refused come back after retryAfter.
	AskAgain bool
	// Hold keeps a query from returning until the parent says carry on, so that
	// the parent can kill the process before it has the value.
	Hold bool
}

// A callee is which form of Store.TopBooks is called.
type callee string

const (
	callPlain callee = "plain" // the function itself
	callStore callee = "store" // Store, as the server calls it
	callAging callee = "aging" // agingStore
)

// A report is a line from a worker.
type report struct {
	Event    eventKind
	Source   string        `json:",omitempty"` // of answer: an fncache.Source
	Took     time.Duration `json:",omitempty"` // of answer
	Err      string        `json:",omitempty"` // of answer, if it failed, and of broken
	Commands int64         // sent to Redis in this act so far
}

type eventKind string

const (
	eventReady     eventKind = "ready"
	eventComputing eventKind = "computing" // a slow query begins
	eventAnswer    eventKind = "answer"    // a request has ended
	eventDone      eventKind = "done"      // all requests of the burst have
	eventBroken    eventKind = "broken"    // the worker gives up
	eventGone      eventKind = "gone"      // its output has ended: the process is dead
)
