// Package holder shows people which process holds a lease. The token of a lease begins with the
// id of its process and the time at which the lease was asked for. A key in Redis says what the
// id stands for:
//
//	<namespace>:{process:<id>}    {"host":"web-1","pid":4711,"build":"example.com/shop@v1.2.3"}
//
// The process writes the key in the background, when it first holds a lease and, as long as it
// holds leases, once in Again. The key expires after Kept, and is deleted when the cache is
// closed. No step of the lease protocol reads it, and nothing is logged if it cannot be written.
package holder

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"os"
	"strings"
	"sync"
	"time"
)

// How often a process is written, and how long it is kept.
const (
	Again = time.Minute
	Kept  = time.Hour
)

// The parts of a token, in letters of base32. The rest is random.
const (
	idLen   = 8
	timeLen = 10
)

// A Process is what is written about one.
type Process struct {
	Host  string `json:"host"`
	PID   int    `json:"pid"`
	Build string `json:"build,omitempty"`
}

// Key returns the key of a process.
func Key(namespace, id string) string { return namespace + ":{process:" + id + "}" }

// A Config is what a Holder works with. All fields are required, except Build.
type Config struct {
	Anonymous bool // tokens are random, and nothing is written
	Namespace string
	Build     string
	Spawn     func(func()) // starts a goroutine
	// Send sends a command, given as its words, and waits for its end.
	Send    func(ctx context.Context, key string, words ...any) error
	Timeout time.Duration // of a command
}

// A Holder is this process as the holder of the leases of one cache. It is safe for concurrent
// use.
type Holder struct {
	cfg Config
	id  string
	key string

	mu      sync.Mutex // guards the fields below
	tried   time.Time  // when the process was last written, or tried to be
	written bool       // it may be in Redis
	ended   bool
}

// New returns a Holder with a new id.
func New(cfg Config) *Holder {
	id := rand.Text()[:idLen]
	return &Holder{cfg: cfg, id: id, key: Key(cfg.Namespace, id)}
}

// Token returns a new token. It has as many letters as rand.Text returns.
func (h *Holder) Token() string {
	text := rand.Text()
	if h.cfg.Anonymous {
		return text
	}
	var millis [8]byte
	binary.BigEndian.PutUint64(millis[:], uint64(time.Now().UnixMilli())<<(64-5*timeLen))
	return h.id + base32.StdEncoding.EncodeToString(millis[:])[:timeLen] + text[idLen+timeLen:]
}

// Parse reads the value of a lock: the id of its process, and when the lease was asked for. In a
// token that is random both are random. The caller has to check that the key of the process
// exists. ok is false if this process cannot have written the value.
func Parse(lock string) (id string, at time.Time, ok bool) {
	token := strings.TrimPrefix(strings.TrimPrefix(lock, "cool:"), "open:")
	if len(token) < idLen+timeLen {
		return "", time.Time{}, false
	}
	const idBytes = idLen * 5 / 8
	raw, err := base32.StdEncoding.DecodeString(token[:idLen+timeLen] + "AAAAAA") // to whole bytes
	if err != nil {
		return "", time.Time{}, false
	}
	at = time.UnixMilli(int64(binary.BigEndian.Uint64(raw[idBytes:]) >> (64 - 5*timeLen))).UTC()
	return token[:idLen], at, at.Year() <= 9999 // JSON has no later times
}

// ParseProcess reads what is written about a process. ok reports whether it says who it is.
func ParseProcess(text []byte) (p Process, ok bool) {
	err := json.Unmarshal(text, &p)
	return p, err == nil && p != Process{}
}

// Holds says that the process holds a lease. It writes the process in the background, unless
// that was tried less than Again ago.
func (h *Holder) Holds() {
	if h.cfg.Anonymous {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended || !h.tried.IsZero() && time.Since(h.tried) < Again {
		return
	}
	h.tried, h.written = time.Now(), true
	h.cfg.Spawn(func() {
		host, _ := os.Hostname()
		text, _ := json.Marshal(Process{host, os.Getpid(), h.cfg.Build})
		_ = h.send("set", h.key, text, "px", Kept.Milliseconds())
	})
}

func (h *Holder) send(words ...any) error {
	ctx, end := context.WithTimeout(context.Background(), h.cfg.Timeout)
	defer end()
	return h.cfg.Send(ctx, h.key, words...)
}

// End deletes the process. It is called when no goroutine of Holds runs any more.
func (h *Holder) End() {
	h.mu.Lock()
	written := h.written
	h.ended, h.written = true, false
	h.mu.Unlock()
	if written {
		_ = h.send("del", h.key)
	}
}
