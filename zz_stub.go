package fncache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"time"
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
