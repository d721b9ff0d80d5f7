package fncache

import (
	"bytes"
	"fmt"
	"reflect"
	"strconv"
	"time"

	"github.com/fncache/fncache/internal/apart"
	"github.com/fncache/fncache/internal/codec"
	"github.com/fncache/fncache/internal/lifetime"
	"github.com/fncache/fncache/internal/seal"
	"github.com/fncache/fncache/internal/shape"
	"github.com/fncache/fncache/internal/signature"
)

// A Codec turns the results of functions into bytes and back, for Config.Codec.
// [CBOR] is the default, [JSON] the one to read entries with; another one may
// write what other programs read. To encrypt entries, set Config.Seal. Its methods are
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
// let through by a MarshalBinary and UnmarshalBinary, used or not, or by a [FormCodec].
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

// codecName is the codec in the fingerprint that keys carry. It changes, as does
// codecCBOR, whenever a body changes its meaning.
const codecName = "cbor2"

// CBOR is the codec that a [Cache] has by default. What it writes is short and
// quickly read, and each value of a type that can be wrapped comes back as it was
// (see docs/results.md). It is exported for codecs that wrap it, such as one that
// encrypts. What such a codec is given was checked when the function was wrapped.
type CBOR struct{}

// Name implements [Codec].
func (CBOR) Name() string { return codecName }

// Encode implements [Codec].
func (CBOR) Encode(results []any) ([]byte, error) { return codec.Encode(codec.CBOR, results) }

// Decode implements [Codec]. The results share no memory with body.
func (CBOR) Decode(body []byte, results []any) error { return codec.Decode(codec.CBOR, body, results) }

// jsonName is codecName for JSON.
const jsonName = "json2"

// JSON is the codec for people who read entries, with redis-cli or in a log: all
// that stands behind the 32 bytes of an entry's header is one JSON array of the
// results. Entries that are to be read must not be compressed: set
// Config.CompressOver to -1.
//
// It keeps what [CBOR] keeps, and accepts the same types, with these differences:
//
//   - NaN, the infinities and strings that are not valid UTF-8 cannot be encoded: such
//     a result is returned as it is, logged, and not stored.
//   - A field is left out by `json:"-"` or `fncache:"-"`. Its name is that of its json
//     tag, unless two fields of the struct have the same; the options of the tag, such
//     as omitempty, are not followed.
//   - A type with unexported fields is encoded by MarshalJSON, or else MarshalText,
//     MarshalBinary or MarshalCBOR, the first of which it has both halves.
//   - Bytes are written in base64, an embedded struct as a field, a map whose keys are
//     neither strings nor integers as an array of pairs.
//
// It is read only as it is written: an entry that was edited by hand is a miss. It takes
// two to three times as long to read as CBOR does, and is longer by a third (texts) to
// two thirds (numbers).
type JSON struct{}

// Name implements [Codec].
func (JSON) Name() string { return jsonName }

// Encode implements [Codec].
func (JSON) Encode(results []any) ([]byte, error) { return codec.Encode(codec.JSON, results) }

// Decode implements [Codec]. The results share no memory with body.
func (JSON) Decode(body []byte, results []any) error { return codec.Decode(codec.JSON, body, results) }

// A Form is how a codec stores what pointers of one type point to. See [FormCodec].
type Form struct {
	// Name tells the form, and the version of what it writes, apart from all others. In the
	// keys of functions it stands for all that the type consists of, so a type that changes
	// under the same Name starts nothing cold. It must not be empty.
	Name string

	// Encode returns the bytes of a value. v is a pointer of the type, and is not nil. The
	// value must be left as it is.
	Encode func(v any) ([]byte, error)

	// Decode reads what Encode returned into the zero value that v points to. It may keep
	// body. Bytes that Encode does not return must be an error.
	Decode func(body []byte, v any) error
}

// A FormCodec is a [Codec] that also stores types of which [CBOR] would lose something.
// Wherever a result has a pointer of a type with a [Form], itself or as a part of it, the
// form stores what it points to; a nil pointer comes back as nil. Everything else is
// stored, or refused, as CBOR does. [CBORWith] makes such a codec. One that wraps it, to
// encrypt, embeds a FormCodec and has a Name, an Encode and a Decode of its own.
//
// Types are checked when a function is wrapped, so the codec must be known then: set
// [Options.Cache], or call [SetDefault] before. Otherwise the types must be those that CBOR
// keeps.
type FormCodec interface {
	Codec

	// Form returns the form of a pointer type, or nil where it has none. An error refuses
	// the type; it follows the place and the type, and says what to do. Form must give the
	// same answer each time.
	Form(pointer reflect.Type) (*Form, error)
}

// CBORWith returns a codec that writes what [CBOR] writes, and by forms what pointers of
// some types point to: form is [FormCodec.Form], and name is [Codec.Name]. Make it once, as
// a package variable: it keeps what it learns about types.
func CBORWith(name string, form func(pointer reflect.Type) (*Form, error)) FormCodec {
	return &cborWith{name: name, form: form, format: formatWith(form)}
}

// cborWith is what CBORWith returns.
type cborWith struct {
	name   string
	form   func(reflect.Type) (*Form, error)
	format codec.Format
}

func (c *cborWith) Name() string                             { return c.name }
func (c *cborWith) Form(pointer reflect.Type) (*Form, error) { return c.form(pointer) }
func (c *cborWith) Encode(results []any) ([]byte, error)     { return codec.Encode(c.format, results) }

func (c *cborWith) Decode(body []byte, results []any) error {
	return codec.Decode(c.format, body, results)
}

// formatWith is CBOR with the forms of a codec.
func formatWith(form func(reflect.Type) (*Form, error)) codec.Format {
	return codec.WithForms(func(pointer reflect.Type) (*codec.Form, error) {
		found, err := form(pointer)
		return (*codec.Form)(found), err
	})
}

// A coder is the codec of a cache, with what is written about it.
type coder struct {
	codec        Codec
	id           byte          // in the headers of entries
	mark         string        // in fingerprints
	compressOver int           // bytes of a body; negative for never
	seal         *seal.Keyring // nil without Config.Seal
	// types is what the types of results are checked by when a function is wrapped.
	types codec.Format
	// ordered is how values are compared: it is types with sorted maps.
	ordered codec.Format
	// format is how bodies are written. Unless ours is set, the codec writes them, which is
	// the user's own; of a FormCodec, format then says what a body may hold.
	format codec.Format
	ours   bool
}

// newCoder takes the codec of a configuration that has its defaults.
func newCoder(cfg *Config) *coder {
	c := &coder{codec: cfg.Codec, compressOver: cfg.CompressOver, types: codec.CBOR}
	c.seal, _ = seal.New(cfg.Seal) // its fault was found before
	c.id, c.mark = codecOther, "codec "+strconv.Quote(cfg.Codec.Name())
	switch own := cfg.Codec.(type) {
	case CBOR:
		c.id, c.mark, c.format, c.ours = codecCBOR, codecName, codec.CBOR, true
	case JSON:
		c.id, c.mark, c.format, c.ours = codecJSON, jsonName, codec.JSON, true
	case *cborWith:
		c.types, c.format, c.ours = own.format, own.format, true
	case FormCodec:
		c.format = formatWith(own.Form)
		c.types = c.format
	}
	c.ordered = c.types.Ordered()
	if c.seal != nil { // so that an entry that is not sealed is none
		c.mark += " sealed"
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
	knows := c.ours || c.types != codec.CBOR
	switch {
	case c.id == codecCBOR && c.seal == nil:
		return f.fingerprint
	case knows && f.sig.Encoding.Check(c.format) == nil:
		return f.sig.Fingerprint(c.mark, c.format)
	default: // nothing is known of what it stores
		return f.sig.OtherFingerprint(c.mark)
	}
}

// faults says why the codec would lose a function's results, as far as is known
// of it beyond what every function is checked for.
func (c *coder) faults(sig *signature.Signature) error {
	if c.ours {
		return sig.Encoding.Check(c.format)
	}
	return nil
}

// encode appends the results at these pointers to dst.
func (c *coder) encode(dst []byte, plans *codec.Results, results []any) ([]byte, error) {
	if c.ours {
		return plans.Append(dst, c.format, results)
	}
	var body []byte
	if err := codec.Guard(c.mark, "encode", func() (err error) {
		body, err = c.codec.Encode(results)
		return err
	}); err != nil {
		return nil, err
	}
	return append(dst, body...), nil
}

// decode reads a body into the zero values at these pointers. They share no memory
// with it, and it stays as it is: a codec of the user's own is given a copy, which it may
// decrypt in place.
func (c *coder) decode(body []byte, plans *codec.Results, results []any) error {
	if c.ours {
		return plans.Decode(body, c.format, results)
	}
	return codec.Guard(c.mark, "decode", func() error { return c.codec.Decode(bytes.Clone(body), results) })
}

// unseal decrypts the body of the entry of a key, if the cache seals. The error is a miss with
// its reason.
func (c *coder) unseal(e *envelope, key string) error {
	sealed := e.flags&flagSealed != 0
	switch {
	case c.seal == nil && !sealed:
		return nil
	case c.seal == nil:
		return miss(missSealed, "byte %d: the body is sealed, and the cache has no Config.Seal", flagsOffset)
	case !sealed:
		return miss(missSealed, "byte %d: the body is not sealed, and the cache has Config.Seal", flagsOffset)
	}
	body, err := c.seal.Open(e.body, e.bound(key))
	if err != nil {
		return miss(missSealed, "the body: %v", err)
	}
	e.body, e.flags = body, e.flags&^flagSealed
	return nil
}

// open makes the body of an entry ready to be decoded. The error is a miss with
// its reason.
func (c *coder) open(e *envelope) error {
	if e.codec != c.id {
		return miss(missUnknownCodec, "byte %d: codec %d, the cache has %d", codecOffset, e.codec, c.id)
	}
	if e.flags&flagCompressed == 0 {
		return nil
	}
	body, err := codec.Decompress(e.body)
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
		if packed := codec.Compress(body, envelopeHeaderLen); packed != nil {
			return packed, flagCompressed
		}
	}
	return raw, 0
}

// enclose returns the bytes of an entry whose body stands in raw, after room for the header. It
// compresses and seals the body, and sets the flags for that. key is that of the entry.
func (c *coder) enclose(e *envelope, raw []byte, key string) []byte {
	if !e.negative() {
		var flags byte
		raw, flags = c.pack(raw)
		e.flags |= flags
	}
	if c.seal != nil {
		e.flags |= flagSealed
		body := raw[envelopeHeaderLen:]
		raw = c.seal.Seal(make([]byte, envelopeHeaderLen, len(raw)+seal.Overhead), seal.NewSalt(), body, e.bound(key))
	}
	more := 0 // that stands before the body
	if e.life != nil {
		e.flags |= flagLifetime
		more += lifetimesLen
	}
	if e.tags != nil {
		e.flags |= flagTagged
		more += e.tags.Len()
	}
	if more == 0 {
		e.appendTo(raw[:0])
		return raw
	}
	return append(e.appendTo(make([]byte, 0, len(raw)+more)), raw[envelopeHeaderLen:]...)
}

// encode appends results to dst.
func (f *Func) encode(c *coder, dst []byte, r shape.Results) ([]byte, error) {
	return c.encode(dst, f.sig.Encoding, r.Pointers())
}

// encodeOrdered appends results to dst so that equal results have equal encodings, as far as
// the methods of their types allow. It writes CBOR, whatever the codec is; a type that CBOR
// does not keep is left to the codec.
func (f *Func) encodeOrdered(c *coder, dst []byte, r shape.Results) ([]byte, error) {
	if encoded, err := f.sig.Encoding.Append(dst, c.ordered, r.Pointers()); err == nil {
		return encoded, nil
	}
	return f.encode(c, dst, r)
}

// decode makes results of a body, for callers that go on whatever code of the user's own
// does: see apart.go.
func (f *Func) decode(c *coder, body []byte) (shape.Results, error) {
	if f.decodesApart(c) {
		return f.decodeApart(c, body)
	}
	return f.decodeHere(c, body)
}

// decodesApart reports whether decoding may run code of the user's own.
func (f *Func) decodesApart(c *coder) bool { return !c.ours || f.sig.Encoding.AskMethods(c.format) }

// decodeHere is decode on this goroutine.
func (f *Func) decodeHere(c *coder, body []byte) (shape.Results, error) {
	r := f.shape.Blank()
	if err := c.decode(body, f.sig.Encoding, r.Pointers()); err != nil {
		return nil, err
	}
	return r, nil
}

// share gives a caller shape.Results of its own: a copy of what was decoded once, or, of
// types that cannot be copied, the body decoded anew.
func (f *Func) share(c *coder, decoded shape.Results, body []byte) (shape.Results, error) {
	if f.plans.Copies == nil {
		return f.decode(c, body)
	}
	return f.shape.Copy(decoded), nil
}

// decodeApart is decodeHere for code of the user's own. What does not end within
// Options.ComputeTimeout is left to itself, with what it writes to: within that time the
// function would have made the value anew.
func (f *Func) decodeApart(c *coder, body []byte) (shape.Results, error) {
	var decoded shape.Results
	var err error
	var unwaited *lifetime.Group
	run := apart.Start(unwaited.Go, func() { decoded, err = f.decodeHere(c, body) })
	limit := time.NewTimer(f.opts.ComputeTimeout)
	defer limit.Stop()
	select {
	case <-run.Ended:
	case <-limit.C:
		return nil, &apart.Error{Fault: "did not end within Options.ComputeTimeout"}
	}
	if run.Fault != "" {
		return nil, &apart.Error{Fault: run.Fault}
	}
	return decoded, err
}
