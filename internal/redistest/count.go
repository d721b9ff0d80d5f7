package redistest

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// setUp has the commands by which clients set up connections and learn the topology. They are not
// counted, because their number depends on the pool.
var setUp = map[string]bool{
	"hello": true, "auth": true, "select": true, "client": true, "readonly": true,
	"command": true, "cluster": true, "sentinel": true,
}

// A Counter is a go-redis hook that counts commands as a client sends them. A script counts as one
// command, and a pipeline as the commands in it. Connection set-up (HELLO, CLIENT, AUTH, SELECT,
// READONLY, COMMAND, CLUSTER, SENTINEL) is not counted. Hooks do not see what go-redis sends again
// after a failure, or for subscriptions; see [Server.Monitor] for those. Several clients may use
// one Counter.
type Counter struct {
	mu       sync.Mutex // guards the fields below
	byName   map[string]int
	commands []string
}

var _ redis.Hook = (*Counter)(nil)

// NewCounter returns a Counter for the AddHook of a client.
func NewCounter() *Counter { return &Counter{byName: map[string]int{}} }

// Total returns how many commands were sent.
func (c *Counter) Total() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.commands)
}

// ByName returns how many commands were sent, by their names in lower case.
func (c *Counter) ByName() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.byName)
}

// Commands returns the commands in the order of sending, with shortened arguments. It is for the
// messages of failed tests.
func (c *Counter) Commands() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.commands...)
}

// Reset sets all counts to zero.
func (c *Counter) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.byName)
	c.commands = nil
}

func (c *Counter) count(cmds ...redis.Cmder) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cmd := range cmds {
		name := strings.ToLower(cmd.Name())
		if setUp[name] {
			continue
		}
		c.byName[name]++
		c.commands = append(c.commands, brief(cmd.Args()))
	}
}

// brief returns the arguments of a command on one line. It shortens and quotes them if needed.
func brief(args []any) string {
	const most = 80
	words := make([]string, len(args))
	for i, arg := range args {
		var word string
		switch arg := arg.(type) {
		case []byte:
			word = string(arg)
		default:
			word = fmt.Sprint(arg)
		}
		if len(word) > most {
			word = word[:most] + "..."
		}
		if quoted := fmt.Sprintf("%q", word); len(quoted) > len(word)+2 {
			word = quoted
		}
		words[i] = word
	}
	return strings.Join(words, " ")
}

// DialHook implements redis.Hook.
func (c *Counter) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements redis.Hook.
func (c *Counter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.count(cmd)
		return next(ctx, cmd)
	}
}

// ProcessPipelineHook implements redis.Hook.
func (c *Counter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.count(cmds...)
		return next(ctx, cmds)
	}
}
