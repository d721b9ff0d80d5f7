package history

import (
	"crypto/sha1" // how Redis names scripts
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fncache/fncache"
	"github.com/fncache/fncache/internal/fence"
)

// scripts has the names of fncache's scripts, so that a worker recognizes them, and replacements.
type scripts struct {
	Verbs   map[string]string // by SHA1
	Replace map[string]string // the same name to another source, of a mutant
	// Set for some mutants; see there.
	Deaf, Heedless bool
}

// loadScripts reads the scripts from the library's directory.
func loadScripts(dir string, mutate *mutant) (scripts, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "lock_*.lua"))
	if err != nil || len(paths) == 0 {
		return scripts{}, fmt.Errorf("history: no lock_*.lua in %s: %w", dir, err)
	}
	s := scripts{Verbs: map[string]string{}, Replace: map[string]string{}}
	if mutate != nil {
		s.Deaf, s.Heedless = mutate.deaf, mutate.heedless
	}
	sources := map[string]string{verbReadFence: fence.ReadLua, verbOvertake: fence.InvalidateLua}
	for _, path := range paths {
		source, err := os.ReadFile(path)
		if err != nil {
			return scripts{}, err
		}
		sources[strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), "lock_"), ".lua")] = string(source)
	}
	for verb, source := range sources {
		s.Verbs[scriptName(source)] = verb
		if mutate == nil || mutate.guard == "" || mutate.verb != verb {
			continue
		}
		if n := strings.Count(source, mutate.guard); n != 1 {
			return scripts{}, fmt.Errorf("history: the guard %q is %d times in the script %s, not once: the script has changed, so change the mutant", mutate.guard, n, verb)
		}
		s.Replace[scriptName(source)] = strings.Replace(source, mutate.guard, mutate.without, 1)
	}
	return s, nil
}

// The verbs of commands to the fence, and of commands that concern neither the fence nor a cell,
// such as those to a registry. All other verbs concern one cell.
const (
	verbOther     = "other"
	verbFence     = "fence"      // HMGET, sent with a lookup
	verbReadFence = "read fence" // the script: capture and re-read
	verbOvertake  = "overtake"   // the script: InvalidateTags and ExpireTags
)

func scriptName(source string) string {
	sum := sha1.Sum([]byte(source))
	return hex.EncodeToString(sum[:])
}

// A mutant is fncache with one guard removed from a script, or deaf, or heedless. A deaf mutant
// sends no lookup after one has failed, so it computes without a lease forever. A heedless mutant
// reads "held" if a step replies that the lease was lost, so it answers every caller that has
// joined the computation.
type mutant struct {
	name           string
	verb           string // of the script
	guard, without string
	caught         rule // the rule that must catch it
	near           bool // in processes that answer from memory
	tags           bool // of functions with tags
	deaf           bool
	heedless       bool
}

// plan returns a plan in which the guards are needed often: computations are long, many fail,
// and many are invalidated.
func (m *mutant) plan(seed uint64) plan {
	if m.deaf {
		p := newPlan(seed, 2*calmAfter)
		p.Faults, p.Down = []fault{faultRefuse, faultPause}, fncache.DownCompute
		return p
	}
	p := newPlan(seed, 2*time.Second)
	p.Workers, p.Clients, p.Args = 4, 4, 1
	p.Faults, p.Delay, p.Failing, p.Busy = nil, 3*time.Millisecond, 0.4, 0.3
	if !m.tags {
		p.forgetTags()
	}
	for i := range p.Funcs {
		p.Funcs[i].Near = 0
		if m.near {
			p.Funcs[i].Near, p.Delay, p.Failing, p.Busy = freshness, 0, 0.05, 0.1
		}
	}
	return p
}

// forgetTags removes the tags of all functions, and the function that calls others.
func (p *plan) forgetTags() {
	p.Funcs = p.Funcs[:len(p.Funcs)-1]
	for i := range p.Funcs {
		p.Funcs[i].Tags, p.Funcs[i].Adds = nil, false
	}
}

// mutants remove the guards of the protocol, the messages for the near cache, the end of an
// outage, and the reply that a joined lease was lost.
var mutants = []mutant{
	{
		name: "store does not compare", verb: "store",
		guard: "if redis.pcall('GET', KEYS[2]) ~= ARGV[1] then", without: "if false then",
		caught: ruleOld,
	},
	{
		name: "acquire does not read again", verb: "acquire",
		guard: "if not refresh and present == 1 and head ~= ARGV[4] then", without: "if false then",
		caught: ruleRecomputed,
	},
	{
		name: "release is a plain DEL", verb: "release",
		guard: "if type(holder) ~= 'string' or base(holder) ~= base(ARGV[1]) then", without: "if false then",
		caught: ruleOverlap,
	},
	{
		name: "invalidate publishes nothing", verb: "invalidate",
		guard: "refused = tell(ARGV[i])", without: "",
		caught: ruleNear, near: true,
	},
	{
		name: "an invalidation of tags publishes nothing", verb: verbOvertake,
		guard: "redis.pcall('PUBLISH', ARGV[5], 'tags ' .. now .. ' ' .. ARGV[4] .. ' ' .. table.concat(tags, ' '))", without: "0",
		caught: ruleTagsNear, near: true, tags: true,
	},
	{name: "lookups are not sent any more after one has failed", deaf: true, caught: ruleUnleased},
	{name: "callers that joined are answered although the lease was lost", heedless: true, caught: ruleJoined},
}
