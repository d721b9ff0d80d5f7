package fncache

import (
	"encoding/binary"
	"errors"
	"log/slog"
	"reflect"
	"time"

	"github.com/fxamacker/cbor/v2"
)

var _ = slog.Default

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
