package fence

import (
	_ "embed"
	"fmt"
	"strings"
)

// The scripts. Each file begins with its keys and arguments.
var (
	//go:embed fence_open.lua
	openLua string
	//go:embed fence_read.lua
	readLua string
	//go:embed fence_invalidate.lua
	invalidateLua string

	ReadLua       = openLua + readLua
	InvalidateLua = openLua + invalidateLua
)

const (
	// MaxFields is how many tags a fence remembers. If there are more, the oldest of a sample are
	// forgotten, and the floor rises.
	MaxFields = 1_000_000
	// MaxRemoved is how many tags are forgotten at once. One command invalidates no more tags than
	// this, so a fence does not stay above MaxFields for long.
	MaxRemoved = 100
)

// Key returns the key of the fence of a namespace.
func Key(namespace string) string { return namespace + ":{fence}" }

// A Known is what the caller knows of the server. Every script gets it.
type Known struct {
	Time Stamp // the server's time (see FloorAt), or Unknown
	Seen Stamp // the largest stamp that the caller has seen
}

// Args returns the first arguments of each script.
func (k Known) Args() []any { return []any{NewEpoch().String(), k.Time.String(), k.Seen.String()} }

func appendTags(args []any, tags []Tag) []any {
	for _, t := range tags {
		args = append(args, t.String())
	}
	return args
}

// ReadArgs returns the arguments of the script that reads. If open is true, the script makes an
// epoch if there is none.
func ReadArgs(k Known, open bool, tags []Tag) []any {
	flag := "0"
	if open {
		flag = "1"
	}
	return appendTags(append(k.Args(), flag), tags)
}

// A Kind says how an invalidation overtakes entries.
type Kind string

const (
	Hard Kind = "h" // they are invalid
	Soft Kind = "s" // they are stale at most
)

// InvalidateArgs returns the arguments of the script that invalidates.
func InvalidateArgs(k Known, kind Kind, channel string, tags []Tag) []any {
	return appendTags(append(k.Args(), string(kind), channel, MaxFields, MaxRemoved), tags)
}

// ParseInvalidated parses the answer of the script that invalidates. refused says why nothing could
// be published; it is "" if the message was published.
func ParseInvalidated(reply any) (stamp Stamp, refused string, err error) {
	parts, _ := reply.([]any)
	if len(parts) != 2 {
		return 0, "", fmt.Errorf("unexpected reply of fence_invalidate.lua, of %d elements; look for a proxy or a server that changes replies", len(parts))
	}
	text, _ := parts[0].(string)
	stamp, ok := ParseStamp(text)
	if !ok {
		return 0, "", fmt.Errorf("unexpected reply of fence_invalidate.lua: %q is no stamp; look for a proxy or a server that changes replies", text)
	}
	refused, _ = parts[1].(string)
	return stamp, refused, nil
}

// A Message is the published message about an invalidation.
type Message struct {
	Stamp Stamp
	Kind  Kind
	Tags  []Tag
}

// ParseMessage parses `tags <stamp> <h or s> <tag>...`.
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
