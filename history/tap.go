package history

import (
	"context"
	"encoding"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/fncache/fncache/internal/fence"
	"github.com/fncache/fncache/internal/redistest"
)

// fenceKey is the key of the fence.
var fenceKey = fence.Key(namespace)

// A tap is a go-redis hook that records a worker's commands about its cells, replaces scripts
// by those of a mutant, and makes a mutant deaf or heedless.
type tap struct {
	rec     *recorder
	scripts scripts
	ops     *atomic.Int64
	cells   atomic.Pointer[map[string]string] // from the key in Redis; nil until they are known
	fields  map[string]string                 // by cell: the field of the fence for the tag that only this cell has; written before cells
	deaf    atomic.Bool                       // of a deaf mutant: a lookup has failed
	kept    atomic.Uint64                     // lookups that a deaf mutant did not send
}

// errDeaf ends a command that a mutant does not send. It is not recorded, because a library that
// does not ask leaves no record either.
var errDeaf = errors.New("history: this mutant no longer sends the command")

// unsent reports whether a mutant no longer sends a command.
func (t *tap) unsent(cmd redis.Cmder) bool {
	name := strings.ToLower(cmd.Name())
	if !t.deaf.Load() || name != "get" && name != "mget" {
		return false
	}
	t.kept.Add(uint64(len(cmd.Args()) - 1))
	return true
}

var _ redis.Hook = (*tap)(nil)

// callKey is the context key of the number of a call. A computation and its commands have the
// context values of their call.
type callKey struct{}

// callOf returns the number of the call about a cell, or about the fence if cell is "".
func callOf(ctx context.Context, cell string) int64 {
	switch call := ctx.Value(callKey{}).(type) {
	case int64:
		return call
	case *batchCall:
		return call.of(cell)
	}
	return 0
}

// How a command failed.
const (
	endedUnsent  = "unsent"  // it never left
	endedRefused = "refused" // the server answered with an error, and did nothing
	endedUnknown = "unknown" // it may have been executed, or may still be
)

func commandError(err error) string {
	var reply redis.Error
	var dial *net.OpError
	switch {
	case err == nil, errors.Is(err, redis.Nil):
		return ""
	case errors.Is(err, redis.ErrPoolTimeout), errors.Is(err, redis.ErrClosed):
		return endedUnsent
	case errors.As(err, &dial) && dial.Op == "dial":
		return endedUnsent
	case errors.As(err, &reply):
		return endedRefused
	default:
		return endedUnknown
	}
}

// DialHook implements redis.Hook.
func (t *tap) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements redis.Hook.
func (t *tap) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if t.unsent(cmd) {
			return errDeaf
		}
		sent := t.sending(ctx, cmd, nil)
		err := next(ctx, cmd)
		t.ended(sent, cmd, err)
		return err
	}
}

// ProcessPipelineHook implements redis.Hook.
func (t *tap) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		cmds = slices.DeleteFunc(slices.Clone(cmds), func(cmd redis.Cmder) bool {
			unsent := t.unsent(cmd)
			if unsent {
				cmd.SetErr(errDeaf)
			}
			return unsent
		})
		if len(cmds) == 0 {
			return errDeaf
		}
		asked := fieldsIn(cmds)
		sent := make([][]event, len(cmds))
		for i, cmd := range cmds {
			sent[i] = t.sending(ctx, cmd, asked)
		}
		err := next(ctx, cmds)
		for i, cmd := range cmds {
			t.ended(sent[i], cmd, cmd.Err())
		}
		return err
	}
}

// fieldsIn returns the fields of the fence that a pipeline reads.
func fieldsIn(cmds []redis.Cmder) (fields map[string]bool) {
	for _, cmd := range cmds {
		if !strings.EqualFold(cmd.Name(), "hmget") {
			continue
		}
		if fields == nil {
			fields = map[string]bool{}
		}
		for _, field := range cmd.Args()[2:] {
			fields[text(field)] = true
		}
	}
	return fields
}

// sending records a command, for each cell that it concerns. fields are the fields of the fence that
// are read together with it. It returns nil if the command concerns neither a cell nor the fence.
func (t *tap) sending(ctx context.Context, cmd redis.Cmder, fields map[string]bool) (sent []event) {
	args := cmd.Args()
	var e event
	var key string
	switch strings.ToLower(cmd.Name()) {
	case "get", "mget":
		for _, key := range args[1:] {
			sent = append(sent, t.sendingTo(ctx, cmd, event{Verb: "get"}, text(key), fields)...)
		}
		return sent
	case "evalsha", "eval":
		e.Verb = t.replace(args)
		n, _ := strconv.Atoi(text(args[2]))
		key = strings.TrimSuffix(text(args[3]), ":lock")
		e.describe(args[3+n:])
	case "hmget":
		e.Verb, key = verbFence, text(args[1])
	}
	if of, probe := strings.CutSuffix(key, ":probe"); probe {
		e.Verb, key = "probe", of
	}
	return t.sendingTo(ctx, cmd, e, key, fields)
}

// sendingTo records a command to a key, and returns its event. Before the cells are known it
// records nothing.
func (t *tap) sendingTo(ctx context.Context, cmd redis.Cmder, e event, key string, fields map[string]bool) []event {
	cells := t.cells.Load()
	if cells == nil {
		return nil
	}
	e.Cell = (*cells)[key]
	if e.Cell == "" && key != fenceKey {
		e = event{Verb: verbOther}
	}
	e.Kind, e.Call = commandSent, callOf(redistest.Caller(ctx, cmd), e.Cell)
	e.Fenced = e.Verb == "get" && fields[t.fields[e.Cell]]
	e.Op = t.ops.Add(1)
	return []event{t.rec.record(e)}
}

// replace returns the verb of EVALSHA or EVAL, and replaces the script by the mutant's.
func (t *tap) replace(args []any) (verb string) {
	name := text(args[1])
	bySource := strings.EqualFold(text(args[0]), "eval")
	if bySource {
		name = scriptName(name)
	}
	if source, mutated := t.scripts.Replace[name]; mutated {
		args[1] = source
		if !bySource {
			args[1] = scriptName(source)
		}
	}
	if verb = t.scripts.Verbs[name]; verb == "" {
		panic(fmt.Sprintf("history: a script that is in no lock_*.lua: %v", args[1]))
	}
	return verb
}

// describe reads the arguments of a script.
func (e *event) describe(args []any) {
	if !slices.Contains([]string{"acquire", "renew", "store", "cooldown", "release"}, e.Verb) {
		return // it names no token
	}
	e.Token, e.Try = tokenIn(args[0])
	switch e.Verb {
	case "acquire":
		e.Millis, _ = strconv.ParseInt(text(args[1]), 10, 64)
		e.Mode = text(args[2])
		e.Seen = entryID(text(args[3]))
		e.Servable = text(args[4]) == "1"
	case "renew", "cooldown":
		e.Millis, _ = strconv.ParseInt(text(args[1]), 10, 64)
		if e.Verb == "cooldown" {
			e.Mode = text(args[5])
		}
	case "store":
		e.Entry, e.Value = entryID(text(args[1])), valueIn(text(args[1]))
		e.Millis, _ = strconv.ParseInt(text(args[2]), 10, 64)
	}
}

// ended records how a command ended.
func (t *tap) ended(sent []event, cmd redis.Cmder, err error) {
	for i := range sent {
		t.endedOf(&sent[i], i, cmd, err)
	}
}

// endedOf records how a command ended for the i-th cell that it concerns.
func (t *tap) endedOf(sent *event, i int, cmd redis.Cmder, err error) {
	e := event{Kind: commandEnds, Op: sent.Op, Cell: sent.Cell, Verb: sent.Verb, Token: sent.Token, Err: commandError(err)}
	switch cmd := redistest.Inner(cmd).(type) {
	case *redis.StringCmd:
		e.Entry, e.Value = entryID(cmd.Val()), valueIn(cmd.Val())
	case *redis.Cmd:
		switch {
		case e.Verb == verbOther:
		case e.Cell == "":
			e.readFence(cmd.Val())
		case e.Verb == "get":
			if values, _ := cmd.Val().([]any); i < len(values) { // an MGET reads keys of cells only
				e.Entry, e.Value = entryID(text(values[i])), valueIn(text(values[i]))
			}
		default:
			e.readReply(cmd.Val())
		}
	}
	if e.Err != "" {
		e.Text = err.Error()
		if t.scripts.Deaf && e.Verb == "get" {
			t.deaf.Store(true)
		}
	}
	t.rec.record(e)
	if cmd, ok := redistest.Inner(cmd).(*redis.Cmd); ok && t.scripts.Heedless && e.Status == "lost" {
		cmd.SetVal([]any{"held", ""})
	}
}

// readReply reads the reply of a script.
func (e *event) readReply(reply any) {
	parts, ok := reply.([]any)
	if !ok {
		e.Status = text(reply)
		return
	}
	if len(parts) < 2 {
		return
	}
	switch e.Status = text(parts[0]); {
	case e.Status == "acquired" && len(parts) == 3:
		e.Present = text(parts[1]) == "1"
		_, e.Try = splitToken(text(parts[2]))
	case e.Status == "held" && len(parts) == 4:
		e.Holder, e.Try = splitToken(text(parts[1]))
		e.Present = text(parts[3]) == "1"
	case e.Status == "changed":
		e.Entry, e.Value = entryID(text(parts[1])), valueIn(text(parts[1]))
	}
}

// readFence reads a reply of the fence.
func (e *event) readFence(reply any) {
	parts, _ := reply.([]any)
	at := 0 // of the stamp
	if e.Verb != verbOvertake && len(parts) > 1 {
		e.Epoch, at = text(parts[0]), 1
	}
	if len(parts) > at {
		e.Stamp, _ = strconv.ParseUint(text(parts[at]), 10, 64)
	}
}

// text returns an argument or a part of a reply as Redis sees it.
func text(arg any) string {
	switch arg := arg.(type) {
	case nil:
		return ""
	case string:
		return arg
	case *string: // of a command with many keys or fields
		return *arg
	case []byte:
		return string(arg)
	default:
		return fmt.Sprint(arg)
	}
}

// tokenIn returns the token in an argument, and the number of its sending. Acquire sends another
// token each time. Such a token must not be marshaled here, because that counts as a sending.
func tokenIn(arg any) (base string, try int) {
	if _, sent := arg.(encoding.BinaryMarshaler); sent {
		token := reflect.Indirect(reflect.ValueOf(arg))
		return token.FieldByName("base").String(), 1 + int(token.FieldByName("sendings").FieldByName("v").Int())
	}
	return splitToken(text(arg))
}

// splitToken splits a token from the number of its sending.
func splitToken(token string) (base string, try int) {
	base, number, resent := strings.Cut(token, ".")
	if !resent {
		return base, 1
	}
	try, _ = strconv.Atoi(number)
	return base, try
}

// entryID returns the id in an envelope's header, which is at the same place in all versions of
// the format, with a mark if the entry was expired: acquire compares the whole header.
func entryID(raw string) string {
	const flags, expired = 5, 1 << 3
	if len(raw) < 32 {
		return ""
	}
	id := hex.EncodeToString([]byte(raw[24:32]))
	if raw[flags]&expired != 0 {
		id += markExpired
	}
	return id
}

// The functions return text that can be found in an entry in any encoding.
var valueText = regexp.MustCompile(`<(f\d+\(\d+\)) v(\d+) c(\d+)>`)

func writeValue(cell string, v value) string {
	return fmt.Sprintf("<%s v%d c%d>", cell, v.Version, v.Comp)
}

// valueIn finds a value in a text; the zero value if there is none.
func valueIn(raw string) value {
	_, v := parseValue(raw)
	return v
}

func parseValue(raw string) (cell string, v value) {
	parts := valueText.FindStringSubmatch(raw)
	if parts == nil {
		return "", value{}
	}
	v.Version, _ = strconv.ParseInt(parts[2], 10, 64)
	v.Comp, _ = strconv.ParseInt(parts[3], 10, 64)
	return parts[1], v
}
