package fncache

import (
	"context"
	"maps"
	"reflect"
	"sync"
	"weak"

	"github.com/redis/go-redis/v9"
)

// This file watches the Redis clients of the process. A hook cannot be taken off a
// client again, so a client has one of them on the way to each server, for all caches
// that are ever made on it. What the hooks know of a server is no cache's own; a cache
// that is closed leaves nothing with them.

// watches are the clients that caches of this process were made on.
var watches watchSet

type watchSet struct {
	mu sync.Mutex // guards the field below
	// m is by the address of the client, which it does not keep alive.
	m map[weak.Pointer[byte]]*clientWatch
}

// of returns the watch of a client. It begins at the first call.
func (s *watchSet) of(client redis.UniversalClient) *clientWatch {
	v := reflect.ValueOf(client)
	if v.Kind() != reflect.Pointer {
		return newClientWatch(client) // nobody can say which of these are the same
	}
	at := weak.Make((*byte)(v.UnsafePointer()))
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.m[at]; w != nil {
		return w
	}
	maps.DeleteFunc(s.m, func(at weak.Pointer[byte], _ *clientWatch) bool { return at.Value() == nil })
	if s.m == nil {
		s.m = make(map[weak.Pointer[byte]]*clientWatch)
	}
	w := newClientWatch(client)
	s.m[at] = w
	return w
}

// A clientWatch is what this process knows of the servers of one client.
type clientWatch struct {
	hook *serverHook // of the one server; nil on a cluster

	mu     sync.Mutex                                 // guards the fields below
	nodes  map[weak.Pointer[redis.Client]]*serverHook // of a cluster
	dialed map[*func()]struct{}                       // of the caches that are open
}

// newClientWatch begins to watch a client. A cluster client dials and sends through
// its nodes.
func newClientWatch(client redis.UniversalClient) *clientWatch {
	w := &clientWatch{dialed: make(map[*func()]struct{})}
	if cluster, ok := client.(interface{ OnNewNode(func(*redis.Client)) }); ok {
		w.nodes = make(map[weak.Pointer[redis.Client]]*serverHook)
		cluster.OnNewNode(w.add)
		return w
	}
	w.hook = &serverHook{dialed: w.noteDial}
	client.AddHook(w.hook)
	return w
}

// add watches a node of a cluster, unless it is watched already. Nodes that the client
// has given up are forgotten.
func (w *clientWatch) add(node *redis.Client) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := weak.Make(node)
	if w.nodes[at] != nil {
		return
	}
	maps.DeleteFunc(w.nodes, func(at weak.Pointer[redis.Client], _ *serverHook) bool { return at.Value() == nil })
	hook := &serverHook{dialed: w.noteDial}
	w.nodes[at] = hook
	node.AddHook(hook)
}

// of returns the hook of a node of a cluster; nil if it is not watched.
func (w *clientWatch) of(node *redis.Client) *serverHook {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.nodes[weak.Make(node)]
}

// all returns the hooks of the nodes that a cluster client has.
func (w *clientWatch) all() (hooks []*serverHook) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for at, hook := range w.nodes {
		if at.Value() != nil {
			hooks = append(hooks, hook)
		}
	}
	return hooks
}

// subscribe has dialed called whenever the client has opened a connection, until end
// is called. dialed must not block.
func (w *clientWatch) subscribe(dialed func()) (end func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dialed[&dialed] = struct{}{}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.dialed, &dialed)
	}
}

// noteDial tells the caches that the client has opened a connection.
func (w *clientWatch) noteDial() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for dialed := range w.dialed {
		(*dialed)()
	}
}

// watch begins to note what becomes of connections and scripts, server by server, and
// has dialed called whenever the client has opened a connection.
func (s *lockStore) watch(dialed func()) {
	s.watched = watches.of(s.client)
	s.unwatch = s.watched.subscribe(dialed)
}

// watchNodeOf watches the node of a key, which a script has just got to unseen: the
// client knew it before New, and OnNewNode does not tell of those.
func (s *lockStore) watchNodeOf(ctx context.Context, key string) {
	cluster, ok := s.client.(*redis.ClusterClient)
	if !ok || s.watched == nil {
		return
	}
	if node, err := cluster.MasterForKey(ctx, key); err == nil {
		s.watched.add(node)
	}
}

// connectingTo gives what is known of the connections that operations on a key need,
// most likely first.
func (s *lockStore) connectingTo(key string) (all []*connecting) {
	if hook := s.watched.hook; hook != nil {
		return []*connecting{&hook.connecting}
	}
	cluster, ok := s.client.(*redis.ClusterClient)
	if ok && key != "" && !cluster.Options().ReadOnly { // which routing by latency or at random implies
		if node, err := masterKnown(cluster, key); err == nil {
			if hook := s.watched.of(node); hook != nil {
				return []*connecting{&hook.connecting}
			}
			return nil
		}
	}
	for _, hook := range s.watched.all() {
		all = append(all, &hook.connecting)
	}
	return all
}
