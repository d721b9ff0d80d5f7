package fncache

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"time"

	"github.com/fxamacker/cbor/v2"
)

var _ = slog.Default
var errorType = reflect.TypeFor[error]()

type signature struct {
	typ      reflect.Type
	hasCtx   bool
	params   []reflect.Type
	variadic bool
	results  []reflect.Type
	hasErr   bool
}

func newSignature(t reflect.Type) (*signature, error) {
	s := &signature{typ: t, variadic: t.IsVariadic()}
	for i := range t.NumIn() {
		if i == 0 && t.In(0) == reflect.TypeFor[context.Context]() {
			s.hasCtx = true
			continue
		}
		s.params = append(s.params, t.In(i))
	}
	for i := range t.NumOut() {
		if t.Out(i) == errorType {
			s.hasErr = true
			continue
		}
		s.results = append(s.results, t.Out(i))
	}
	return s, nil
}
func (s *signature) String() string { return s.typ.String() }
func (s *signature) arguments(args []any) (out []reflect.Value, err error) {
	if len(args) != len(s.params) {
		return nil, fmt.Errorf("want %v", s.typ)
	}
	for i, a := range args {
		out = append(out, reflect.ValueOf(a).Convert(s.params[i]))
	}
	return out, nil
}

type hashKeys struct{ secret []byte }

func newHashKeys(secret []byte) *hashKeys { return &hashKeys{secret} }

type keyPlan struct{ s string }

func newKeyPlan(sig *signature, codec string) *keyPlan {
	h := sha256.Sum256([]byte(sig.typ.String()))
	return &keyPlan{hex.EncodeToString(h[:6])}
}
func (p *keyPlan) sig() string { return p.s }

type hash128 [16]byte

func (p *keyPlan) hash(k *hashKeys, args []reflect.Value) (hash128, error) {
	h := sha256.New()
	for _, a := range args {
		fmt.Fprintf(h, "%#v;", a.Interface())
	}
	return hash128(h.Sum(nil)[:16]), nil
}
func appendHex(dst []byte, h hash128) []byte { return hex.AppendEncode(dst, h[:]) }
func entryPrefix(ns, prefix, name, sig string) string {
	if prefix != "" {
		name = prefix + ":" + name
	}
	return ns + ":{" + name + ":" + sig + ":"
}

const entrySuffix = "}"
const lockSuffix = ":lock"

type funcName struct {
	name   string
	shared bool
	where  string
}

func nameOf(fn reflect.Value, field string) funcName {
	if field != "" {
		return funcName{name: field}
	}
	return funcName{name: runtime.FuncForPC(fn.Pointer()).Name()}
}
func mainPackage() string { return "main" }

const envelopeHeaderLen = 32
const envelopeIDOffset = 24

type envelope struct {
	codec    byte
	storedAt int64
	cost     time.Duration
	id       uint64
	body     []byte
}

func (e *envelope) appendTo(dst []byte) []byte {
	dst = append(dst, "FNC1"...)
	dst = append(dst, 1, 0, 1, 0)
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.storedAt))
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.cost.Microseconds()))
	dst = binary.BigEndian.AppendUint64(dst, e.id)
	return append(dst, e.body...)
}
func (e *envelope) idBytes() (b [8]byte) { binary.BigEndian.PutUint64(b[:], e.id); return }
func parseEnvelope(raw []byte) (envelope, error) {
	if len(raw) < 32 || string(raw[:4]) != "FNC1" {
		return envelope{}, errors.New("bad")
	}
	return envelope{storedAt: int64(binary.BigEndian.Uint64(raw[8:])), cost: time.Duration(binary.BigEndian.Uint64(raw[16:])) * time.Microsecond,
		id: binary.BigEndian.Uint64(raw[24:]), body: raw[32:], codec: 1}, nil
}

const codecCBOR byte = 1
const codecName = "cbor1"

func encodeResults(dst []byte, results []reflect.Value) ([]byte, error) {
	for _, r := range results {
		b, err := cbor.Marshal(r.Interface())
		if err != nil {
			return nil, err
		}
		dst = append(dst, b...)
	}
	return dst, nil
}
func decodeResults(body []byte, types []reflect.Type) (out []reflect.Value, err error) {
	for _, t := range types {
		v := reflect.New(t)
		if body, err = cbor.UnmarshalFirst(body, v.Interface()); err != nil {
			return nil, err
		}
		out = append(out, v.Elem())
	}
	return out, nil
}
func (o *Options) checkLease(t time.Duration) error { return nil }
func (o Options) withDefaults(hasErr bool) (Options, error) {
	if o.Freshness == 0 {
		o.Freshness = o.Timeout
	}
	if o.Cooldown == 0 {
		o.Cooldown = time.Second
	}
	if o.Lease == 0 {
		o.Lease = 10 * time.Second
	}
	if o.ComputeTimeout == 0 {
		o.ComputeTimeout = 5 * time.Minute
	}
	return o, nil
}
func (c Config) withDefaults() (Config, error) {
	if c.RedisTimeout == 0 {
		c.RedisTimeout = 250 * time.Millisecond
	}
	if c.Namespace == "" {
		c.Namespace = "fncache"
	}
	return c, nil
}
func parseTag(tag string, d Options) (Options, error) { return d, nil }
