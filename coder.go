package fncache

import (
	"bytes"
	"fmt"
	"strconv"
)

// A Codec turns the results of functions into bytes and back, for Config.Codec.
// [CBOR] is the default, [JSON] the one to read entries with; another one may
// encrypt what they write, or write what other programs read. Its methods are
// called by many goroutines at once.
//
// What it loses is lost at once, not at the first hit: the caller that computes
// is given what comes back from Decode, too. What it cannot encode, or cannot
// decode again, is returned to that caller as it is, logged, and not stored. An
// entry that it cannot decode is a miss, and so it is if it panics.
//
// Which result types can be cached is decided when wrapping, where the codec may
// not be known yet: the types are those that CBOR keeps, whichever codec it is
// (see the package documentation). A type that only another codec can store is
// let through by a MarshalBinary and UnmarshalBinary, used or not.
type Codec interface {
	// Name tells the codec and its version apart from all others. It is part
	// of every key, so that two codecs never read each other's entries: change
	// it whenever the bytes change their meaning. It must not be empty, and is
	// asked for once, by [New].
	Name() string

	// Encode encodes the results of one call, in order, without its error.
	// There is a pointer to each: of a func() (Book, int, error), a *Book and
	// an *int. The values must be left as they are; the bytes are copied before
	// Encode is called again.
	Encode(results []any) ([]byte, error)

	// Decode reads into the zero values at these pointers what Encode was given
	// for them. It may keep body, a copy for this one call. Bytes that are not
	// what Encode gives must be an error.
	Decode(body []byte, results []any) error
}

// A coder is the codec of a cache, with what is written about it.
type coder struct {
	codec        Codec
	id           byte   // in the headers of entries
	mark         string // in fingerprints
	compressOver int    // bytes of a body; negative for never
}

// Codecs in the header of an entry. A user's own are told apart by their keys.
const (
	codecCBOR  byte = 1
	codecJSON  byte = 2
	codecOther byte = 255
)

// isCodec says whether a header may have that codec.
func isCodec(id byte) bool { return id == codecCBOR || id == codecJSON || id == codecOther }

// newCoder takes the codec of a configuration that has its defaults.
func newCoder(cfg *Config) *coder {
	c := &coder{codec: cfg.Codec, compressOver: cfg.CompressOver}
	switch cfg.Codec.(type) {
	case CBOR:
		c.id, c.mark = codecCBOR, codecName
	case JSON:
		c.id, c.mark = codecJSON, jsonName
	default:
		c.id, c.mark = codecOther, "codec "+strconv.Quote(cfg.Codec.Name())
	}
	return c
}

// checkCodec calls a codec's Name for the first time.
func checkCodec(c Codec) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = fmt.Errorf("Codec: the Name method of %T panics; set a codec that is ready for use", c)
		}
	}()
	if c.Name() == "" {
		return fmt.Errorf("Codec: the Name of %T is empty; give it one, for it tells the entries of codecs apart", c)
	}
	return nil
}

// fingerprint gives the part of a function's keys that changes with its types and
// with the codec.
func (c *coder) fingerprint(f *Func) string {
	switch c.id {
	case codecCBOR:
		return f.plan.sig()
	case codecJSON:
		if plans, err := f.sig.plans.json(); err == nil {
			return fingerprint(f.sig, plans, c.mark)
		}
	}
	return otherFingerprint(f.sig, c.mark)
}

// faults says why the codec would lose a function's results, as far as is known
// of it beyond what every function is checked for.
func (c *coder) faults(sig *signature) error {
	if c.id != codecJSON {
		return nil
	}
	_, err := sig.plans.json()
	return err
}

// encode appends the results at these pointers to dst.
func (c *coder) encode(dst []byte, plans *resultPlans, results []any) ([]byte, error) {
	switch c.id {
	case codecCBOR:
		return encodeAll(dst, plans.cbor, results, cborMarks)
	case codecJSON:
		json, err := plans.json()
		if err != nil {
			return nil, err
		}
		return encodeAll(dst, json, results, jsonMarks)
	}
	body, err := c.encodeOther(results)
	if err != nil {
		return nil, err
	}
	return append(dst, body...), nil
}

// decode reads a body into the zero values at these pointers. They share no memory
// with it, and it stays as it is: who decodes by methods of his own is given bytes of
// his own, which he may decrypt in place.
func (c *coder) decode(body []byte, plans *resultPlans, results []any) error {
	switch c.id {
	case codecCBOR:
		return decodeCBOR(body, plans.cbor, results)
	case codecJSON:
		json, err := plans.json()
		if err != nil {
			return err
		}
		return decodeJSON(body, json, results)
	}
	return c.decodeOther(bytes.Clone(body), results)
}

func (c *coder) encodeOther(results []any) (body []byte, err error) {
	defer func() {
		if value := recover(); value != nil {
			body, err = nil, c.panicked("encode", value)
		}
	}()
	if body, err = c.codec.Encode(results); err != nil {
		return nil, c.failed("encode", err)
	}
	return body, nil
}

func (c *coder) decodeOther(body []byte, results []any) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = c.panicked("decode", value)
		}
	}()
	if err := c.codec.Decode(body, results); err != nil {
		return c.failed("decode", err)
	}
	return nil
}

func (c *coder) failed(verb string, err error) error {
	return &otherCodecError{c.mark, verb, errorText(err), err}
}

func (c *coder) panicked(verb string, value any) error {
	return &otherCodecError{c.mark, verb, panicText(value), panicCause(value)}
}

// open makes the body of an entry ready to be decoded. The error is a *missReason.
func (c *coder) open(e *envelope) error {
	if e.codec != c.id {
		return miss(missUnknownCodec, "byte %d: codec %d, the cache has %d", codecOffset, e.codec, c.id)
	}
	if e.flags&flagCompressed == 0 {
		return nil
	}
	body, err := decompress(e.body)
	if err != nil {
		return err
	}
	e.body, e.flags = body, e.flags&^flagCompressed
	return nil
}

// pack compresses the body of an entry if that pays. raw has room for the header,
// and so has what it gives; raw is left as it is.
func (c *coder) pack(raw []byte) (packed []byte, flags byte) {
	if body := raw[envelopeHeaderLen:]; c.compressOver >= 0 && len(body) > c.compressOver {
		if packed := compress(body, envelopeHeaderLen); packed != nil {
			return packed, flagCompressed
		}
	}
	return raw, 0
}

// An otherCodecError is why a codec other than the default one failed. Like a
// codecError it goes to the log, and shows nothing of a value.
type otherCodecError struct {
	codec string
	verb  string
	text  string
	cause error
}

func (e *otherCodecError) Error() string {
	return fmt.Sprintf("%s by %s: %s", e.verb, e.codec, e.text)
}

func (e *otherCodecError) Unwrap() error { return e.cause }
