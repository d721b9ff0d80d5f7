package fncache

import (
	"context"
	"net"
	"sync"

	"github.com/redis/go-redis/v9"
)

// This file sends scripts: by their hash, or whole where the server does not know
// them. It tells a server that has forgotten a script from one that never had it,
// for each answers NOSCRIPT. For that there is a hook on the way to each server (watch.go),
// which also sees what becomes of connections (connect.go).

// runScript runs a script, in one command where the server knows it.
//
// A server that has not run it yet does not, which is as it should be. It has
// forgotten it if it answers so to a command that was sent after that same server
// had run the script: then it was restarted, or another took its place, or its
// scripts were flushed. Both halves of that are needed. Of several callers that are
// the first with a script, some hear NOSCRIPT after another has had it run; and in
// a Cluster a slot moves to a node that has run nothing yet.
func (s *lockStore) runScript(ctx context.Context, op string, script *redis.Script, keys []string, args ...any) *redis.Cmd {
	run := &scriptRun{script: script}
	ctx = context.WithValue(ctx, scriptRunKey{}, run)
	cmd := script.EvalSha(ctx, s.client, keys, args...)
	if redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") {
		if run.forgotten && s.forgotten != nil {
			s.forgotten(op)
		}
		cmd = script.Eval(ctx, s.client, keys, args...)
	}
	if cmd.Err() == nil && !run.seen {
		s.watchNodeOf(ctx, keys[0])
	}
	return cmd
}

// A scriptRun is one run of a script, as the hooks on the way to the servers see
// it. It is in the context of its commands.
type scriptRun struct {
	script    *redis.Script
	seen      bool // by a hook
	forgotten bool // by a server that had run it
}

type scriptRunKey struct{}

// A serverHook is a go-redis hook on the way to one server. It adds nothing to a
// command.
type serverHook struct {
	dialed     func()
	connecting connecting
	ran        sync.Map // the scripts that the server has run
}

func (h *serverHook) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ended := h.connecting.dial(ctx)
		conn, err := next(ctx, network, addr)
		ended(err)
		if err == nil {
			h.dialed()
		}
		return conn, err
	}
}

func (h *serverHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "hello" {
			err := next(ctx, cmd)
			h.connecting.greeted(err)
			return err
		}
		run := runOf(ctx, cmd)
		if run == nil {
			return next(ctx, cmd)
		}
		ran := h.has(run)
		err := next(ctx, cmd)
		h.note(run, ran, err)
		return err
	}
}

// A cluster client sends a script in a pipeline, behind ASKING, while its slot
// moves.
func (h *serverHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if len(cmds) == 0 {
			return next(ctx, cmds)
		}
		last := cmds[len(cmds)-1]
		run := runOf(ctx, last)
		if run == nil {
			return next(ctx, cmds)
		}
		ran := h.has(run)
		err := next(ctx, cmds)
		h.note(run, ran, last.Err())
		return err
	}
}

// runOf gives the run of a script of ours that a command is sent for, or nil.
func runOf(ctx context.Context, cmd redis.Cmder) *scriptRun {
	if name := cmd.Name(); name != "evalsha" && name != "eval" {
		return nil
	}
	run, _ := ctx.Value(scriptRunKey{}).(*scriptRun)
	return run
}

// has says whether the server has run the script before.
func (h *serverHook) has(run *scriptRun) bool {
	_, ran := h.ran.Load(run.script)
	return ran
}

// note takes in how a run ended; ran is what has said before it was sent.
func (h *serverHook) note(run *scriptRun, ran bool, err error) {
	run.seen = true
	switch {
	case err == nil && !ran:
		h.ran.Store(run.script, true)
	case ran && redis.HasErrorPrefix(err, "NOSCRIPT"):
		run.forgotten = true
	}
}
