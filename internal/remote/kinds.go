package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// A Kind says why Redis did not execute a command.
type Kind uint8

const (
	// KindOther: the server answered with an error of no other kind.
	KindOther Kind = iota
	// KindTimeout: no answer in time.
	KindTimeout
	// KindUnreachable: connecting failed, or the connection broke.
	KindUnreachable
	// KindBusyHere: this process is busy. No connection of the client's pool was free, or
	// the process or the machine has too many files open to make one.
	KindBusyHere
	// KindAuth: wrong user or password, or none given.
	KindAuth
	// KindNoPerm: the user may not run the command, or not on this key.
	KindNoPerm
	// KindReadOnly: a replica was asked to write.
	KindReadOnly
	// KindLoading: the server reads its data set into memory.
	KindLoading
	// KindOOM: maxmemory is reached, and nothing may be evicted.
	KindOOM
	// KindClusterDown: no node, or not the one that was asked, serves the slot.
	KindClusterDown
	// KindMasterDown: a replica has lost its primary, and serves no stale data.
	KindMasterDown
	// KindRefusesWrites: the server cannot save to disk, or has too few replicas.
	KindRefusesWrites
	// KindBusy: the server is running a long script.
	KindBusy
	// KindMaxClients: the server accepts no more connections.
	KindMaxClients
	// KindNoScript: the server has forgotten a script that it had run before.
	KindNoScript
	// KindClosed: the Remote, or its client, was closed.
	KindClosed

	// Kinds is the number of kinds.
	Kinds
)

// An Error is the error of a command that Redis did not execute, or may not have executed.
type Error struct {
	Op   string
	Kind Kind
	Key  string // of the command; "" if it has none
	Node string // the address of the node; "" if none was found
	Err  error  // the cause

	NotAsked   bool // the command was not sent, because the node was away
	MayHaveRun bool // the command was sent, and may have taken effect
	Late       int  // how often it was sent and not answered in time
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %v", e.Op, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// The causes that this package adds to those of go-redis and of the server.
var (
	errNotAsked     = errors.New("not asked")
	errSilent       = errors.New("no answer to anything within the timeout")
	errLate         = errors.New("no answer within the timeout")
	errNoConnection = errors.New("no connection within the timeout")
	errPoolFull     = errors.New("all connections of the client's pool are in use")
	errClosed       = errors.New("closed")
	errWithdrawn    = errors.New("withdrawn, because its callers already have the answer that it was not sent") // only go-redis and hooks get it

	errStaying = errors.New("waits for the flight under way") // only leave returns it
)

// KindOf classifies an error: errors of the server by their first words, errors of the client
// and of the network by their types.
func KindOf(err error) Kind {
	var known *Error
	var reply redis.Error
	var netErr net.Error
	switch {
	case errors.As(err, &known):
		return known.Kind
	case errors.As(err, &reply):
		return replyKindOf(reply.Error())
	case errors.Is(err, redis.ErrClosed), errors.Is(err, errClosed):
		return KindClosed
	case isPoolFull(err), isOutOfFiles(err):
		return KindBusyHere
	case errors.Is(err, errNoConnection):
		return KindUnreachable
	case errors.Is(err, errSilent), errors.Is(err, errLate), errors.Is(err, context.DeadlineExceeded):
		return KindTimeout
	case errors.As(err, &netErr) && netErr.Timeout():
		return KindTimeout
	case strings.Contains(err.Error(), "cluster has no nodes"):
		return KindClusterDown
	default: // of the network, of TLS, of the user's Dialer
		return KindUnreachable
	}
}

func isPoolFull(err error) bool {
	return errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrPoolExhausted) || errors.Is(err, errPoolFull)
}

// isOutOfFiles reports whether a connection could not be made because this process, or this
// machine, has too many files open. That says nothing about the node.
func isOutOfFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// isReply reports whether the server itself answered with an error.
func isReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

// replyKinds has the first words of the server's errors. An older server wraps the error of a
// command in a script. The word then comes after ": -".
var replyKinds = []struct {
	code string
	kind Kind
}{
	{"NOAUTH", KindAuth},
	{"WRONGPASS", KindAuth},
	{"ERR Protocol error: unauthenticated", KindAuth}, // to a command of more than 10 arguments, or of a long one
	{"ERR invalid password", KindAuth},
	{"ERR AUTH", KindAuth},
	{"NOPERM", KindNoPerm},
	{"READONLY", KindReadOnly},
	{"LOADING", KindLoading},
	{"OOM", KindOOM},
	{"CLUSTERDOWN", KindClusterDown},
	{"TRYAGAIN", KindClusterDown},
	{"MOVED", KindClusterDown},
	{"ASK", KindClusterDown},
	{"MASTERDOWN", KindMasterDown},
	{"MISCONF", KindRefusesWrites},
	{"NOREPLICAS", KindRefusesWrites},
	{"BUSY", KindBusy},
	{"ERR max number of clients", KindMaxClients},
	{"NOSCRIPT", KindNoScript},
}

func replyKindOf(text string) Kind {
	for _, reply := range replyKinds {
		if strings.HasPrefix(text, reply.code) || strings.Contains(text, ": -"+reply.code+" ") {
			return reply.kind
		}
	}
	if strings.Contains(text, "can't run this command") || // in a script, Redis up to 7.0
		strings.Contains(text, "ACL failure in script") { // later, and Valkey
		return KindNoPerm
	}
	return KindOther
}

// saysAway reports whether an answer of that kind means that the node is away for reads, and
// for writes. An answer about one slot does not mean that: the node has other slots.
func saysAway(err error, kind Kind) (reads, writes bool) {
	switch kind {
	case KindAuth, KindLoading, KindMasterDown, KindBusy, KindMaxClients:
		return true, true
	case KindReadOnly:
		return false, true
	case KindClusterDown:
		all := strings.Contains(err.Error(), "CLUSTERDOWN The cluster is down")
		return all, all
	default:
		return false, false
	}
}

// Elsewhere reports whether a node of a Cluster has sent the client to another node.
func Elsewhere(err error) bool {
	var failure *Error
	if errors.As(err, &failure) {
		err = failure.Err
	}
	return redis.HasErrorPrefix(err, "MOVED ") || redis.HasErrorPrefix(err, "ASK ")
}
