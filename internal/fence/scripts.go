package fence

import (
	_ "embed"
	"fmt"
	"strings"
)

// The scripts. Each is headed by its keys and arguments.
var (
	//go:embed fence_read.lua
	ReadLua string
	//go:embed fence_invalidate.lua
	InvalidateLua string
)

const (
	// MaxFields is how many tags a fence remembers. Of more, the oldest of a sample are
	// forgotten, and the floor rises.
	MaxFields = 1_000_000
	// MaxRemoved is how many are forgotten at once, and how many tags one command
	// invalidates: so a fence does not grow past MaxFields for long.
	MaxRemoved = 100
)

// Key returns the key of the fence of a namespace.
func Key(namespace string) string { return namespace + ":{fence}" }

// An Asking is what a reading on the primary asks for, beside the tags.
type Asking struct {
	Open  bool  // make an epoch if there is none
	Least Stamp // to begin with
	Epoch Epoch // that the caller has seen; zero: none
	Seen  Stamp // the largest stamp of it that the caller has seen
}

// ReadArgs returns the arguments of the script that reads.
func ReadArgs(a Asking, tags []Tag) []any {
	open, seen := "0", ""
	if a.Open {
		open = "1"
	}
	if a.Epoch != (Epoch{}) {
		seen = a.Epoch.String()
	}
	args := make([]any, 0, 5+len(tags))
	args = append(args, open, NewEpoch().String(), a.Least.String(), seen, a.Seen.String())
	for _, t := range tags {
		args = append(args, t.String())
	}
	return args
}

// A Kind is how an invalidation overtakes entries.
type Kind string

const (
	Hard Kind = "h" // they are invalid
	Soft Kind = "s" // they are stale at most
)

// InvalidateArgs returns the arguments of the script that invalidates.
func InvalidateArgs(least Stamp, kind Kind, channel string, tags []Tag) []any {
	args := make([]any, 0, 5+len(tags))
	args = append(args, least.String(), string(kind), channel, MaxFields, MaxRemoved)
	for _, t := range tags {
		args = append(args, t.String())
	}
	return args
}

// ParseInvalidated reads what the script that invalidates answers. refused is why nothing
// could be published, "" if it was.
func ParseInvalidated(reply any) (epoch Epoch, stamp Stamp, refused string, err error) {
	parts, _ := reply.([]any)
	if len(parts) != 3 {
		return Epoch{}, 0, "", fmt.Errorf("unexpected reply of fence_invalidate.lua: %d elements", len(parts))
	}
	text, _ := parts[0].(string)
	epoch, _ = ParseEpoch(text)
	text, _ = parts[1].(string)
	stamp, ok := ParseStamp(text)
	if !ok {
		return Epoch{}, 0, "", fmt.Errorf("unexpected reply of fence_invalidate.lua: %q is no stamp", text)
	}
	refused, _ = parts[2].(string)
	return epoch, stamp, refused, nil
}

// A Message is what is published of an invalidation.
type Message struct {
	Stamp Stamp
	Kind  Kind
	Tags  []Tag
}

// ParseMessage reads `tags <stamp> <h or s> <tag>...`.
func ParseMessage(text string) (m Message, ok bool) {
	words := strings.Split(text, " ")
	if len(words) < 4 || words[0] != "tags" {
		return Message{}, false
	}
	m.Stamp, ok = ParseStamp(words[1])
	m.Kind = Kind(words[2])
	if !ok || m.Kind != Hard && m.Kind != Soft {
		return Message{}, false
	}
	m.Tags = make([]Tag, len(words)-3)
	for i, word := range words[3:] {
		if m.Tags[i], ok = ParseTag(word); !ok {
			return Message{}, false
		}
	}
	return m, true
}
