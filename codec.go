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
// [CBOR] is the default. People can read the entries of [JSON]. Write your own codec if
// another program has to read entries. To encrypt entries, set Config.Seal. The methods
// of a codec are called by several goroutines at the same time.
//
// The caller that computes also gets the result of Decode. So a loss in the codec shows in
// the first call and not only at the first hit. A result that the codec cannot encode, or
// cannot decode again, is returned to that caller unchanged, logged, and not stored. If the
// codec cannot decode an entry, or panics, the entry is a miss.
//
// The result types that can be cached are checked when wrapping, when the codec may not be
// known yet. They are therefore the types that CBOR keeps, for every codec (see the package
// documentation). A type that only another codec can store is accepted if it has
// MarshalBinary and UnmarshalBinary, even if the codec does not use them, or if the codec is
// a [FormCodec].
type Codec interface {
	// Name identifies the codec and its version. It is part of every key, so that two codecs
	// never read each other's entries: change it whenever the bytes change their meaning. It
	// must not be empty. [New] calls it once.
	Name() string

	// Encode encodes the results of one call, in order, without its error.
	// results has a pointer to each: for a func() (Book, int, error), a *Book and
	// an *int. Encode must not change the values. The cache copies the bytes before
	// it calls Encode again.
	Encode(results []any) ([]byte, error)

	// Decode restores the results that Encode was given, into the zero values at these
	// pointers. It may keep body, which is a copy for this one call. Decode must return an
	// error for bytes that Encode did not write.
	Decode(body []byte, results []any) error
}

// codecName is the name of CBOR in the fingerprint in keys. It changes, as does
// codecCBOR, whenever a body changes its meaning.
const codecName = "cbor2"

// CBOR is the default codec of a [Cache]. Its encoding is short and fast to read, and restores
// each value of a type that can be wrapped exactly (see docs/results.md). It is exported for
// codecs that wrap it. The types that such a codec gets were checked when the function was
// wrapped.
type CBOR struct{}

// Name implements [Codec].
func (CBOR) Name() string { return codecName }

// Encode implements [Codec].
func (CBOR) Encode(results []any) ([]byte, error) { return codec.Encode(codec.CBOR, results) }

// Decode implements [Codec]. The results share no memory with body.
func (CBOR) Decode(body []byte, results []any) error { return codec.Decode(codec.CBOR, body, results) }

// jsonName is codecName for JSON.
const jsonName = "json2"

// JSON is the codec for entries that people read, with redis-cli or in a log. After the 32
// bytes of its header, an entry is one JSON array of the results. To keep entries readable,
// turn compression off: set Config.CompressOver to -1.
//
// JSON accepts the same types as [CBOR] and keeps the same values, with these differences:
//
//   - NaN, the infinities and strings that are not valid UTF-8 cannot be encoded: such
//     a result is returned as it is, logged, and not stored.
//   - A field with the tag `json:"-"` or `fncache:"-"` is left out. The json tag names the
//     field, unless two fields of the struct have the same name there; options of the tag,
//     such as omitempty, are ignored.
//   - A type with unexported fields is encoded by MarshalJSON, MarshalText, MarshalBinary or
//     MarshalCBOR: the first of these that the type has together with its Unmarshal method.
//   - Bytes are written in base64. An embedded struct is written as a field. A map whose keys
//     are neither strings nor integers is written as an array of pairs.
//
// Decoding accepts only the exact form that Encode writes: an entry that was edited by hand
// is a miss. JSON takes two to three times as long to read as CBOR, and is longer by a third
// (texts) to two thirds (numbers).
type JSON struct{}

// Name implements [Codec].
func (JSON) Name() string { return jsonName }

// Encode implements [Codec].
func (JSON) Encode(results []any) ([]byte, error) { return codec.Encode(codec.JSON, results) }

// Decode implements [Codec]. The results share no memory with body.
func (JSON) Decode(body []byte, results []any) error { return codec.Decode(codec.JSON, body, results) }

// A Form says how a codec stores the values that pointers of one type point to. See
// [FormCodec].
type Form struct {
	// Name identifies the form and the version of its bytes. In the keys of functions it
	// replaces the structure of the type, so a change of the type under the same Name does not
	// start the cache cold. It must not be empty.
	Name string

	// Encode returns the bytes of a value. v is a pointer of the type, and is not nil. Encode
	// must not change the value.
	Encode func(v any) ([]byte, error)

	// Decode restores into the zero value that v points to the value that Encode was given. It
	// may keep body. Decode must return an error for bytes that Encode did not write.
	Decode func(body []byte, v any) error
}

// A FormCodec is a [Codec] that also stores types of which [CBOR] would lose something.
// If a result is or contains a pointer of a type with a [Form], the form stores the value that
// it points to; a nil pointer comes back as nil. Everything else is stored or refused as by
// CBOR. [CBORWith] makes such a codec. A codec that wraps a FormCodec embeds it, and has its
// own Name, Encode and Decode.
//
// Types are checked when a function is wrapped, so the codec must be known then: set
// [Options.Cache], or call [SetDefault] before. Otherwise only types that CBOR keeps are
// accepted.
type FormCodec interface {
	Codec

	// Form returns the form of a pointer type, or nil if the type has none. An error refuses
	// the type; its text is appended to the place and the type, and says what to do. Form must
	// return the same result each time.
	Form(pointer reflect.Type) (*Form, error)
}

// CBORWith returns a codec that writes what [CBOR] writes, and uses forms for some pointer
// types: form is [FormCodec.Form], and name is [Codec.Name]. Make it once, as a package
// variable, because it caches information about types.
func CBORWith(name string, form func(pointer reflect.Type) (*Form, error)) FormCodec {
	return &cborWith{name: name, form: form, format: formatWith(form)}
}

// cborWith is the codec that CBORWith returns.
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

// A coder is the codec of a cache, with its marks in headers and fingerprints, its compression
// and its seal.
type coder struct {
	codec        Codec
	id           byte          // in the headers of entries
	mark         string        // in fingerprints
	compressOver int           // bytes of a body; negative for never
	seal         *seal.Keyring // nil without Config.Seal
	// types checks the types of results when a function is wrapped.
	types codec.Format
	// ordered encodes values to compare them. It is types with sorted maps.
	ordered codec.Format
	// format writes bodies if ours is set. Otherwise the user's codec writes them; for a
	// FormCodec, format then says which types a body may contain.
	format codec.Format
	ours   bool
}

// newCoder makes the coder of a configuration that has its defaults.
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
	if c.seal != nil { // so that an entry that is not sealed is a miss
		c.mark += " sealed"
	}
	return c
}

// checkCodec checks a codec by its first call of Name.
func checkCodec(c Codec) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = fmt.Errorf("Codec: the Name method of %T panics; set a codec that is ready for use", c)
		}
	}()
	if c.Name() == "" {
		return fmt.Errorf("Codec: the Name of %T is empty; give it a name, because the name separates the entries of codecs", c)
	}
	return nil
}

// fingerprint returns the part of a function's keys that depends on its types and
// on the codec.
func (c *coder) fingerprint(f *Func) string {
	knows := c.ours || c.types != codec.CBOR
	switch {
	case c.id == codecCBOR && c.seal == nil:
		return f.fingerprint
	case knows && f.sig.Encoding.Check(c.format) == nil:
		return f.sig.Fingerprint(c.mark, c.format)
	default: // nothing is known about how the codec stores results
		return f.sig.OtherFingerprint(c.mark)
	}
}

// faults returns an error if the codec would lose a function's results. It adds to the checks
// that each function gets when it is wrapped.
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

// decode reads a body into the zero values at these pointers. The values share no memory with
// the body, and the body is not changed: the user's codec gets a copy, which it may decrypt in
// place.
func (c *coder) decode(body []byte, plans *codec.Results, results []any) error {
	if c.ours {
		return plans.Decode(body, c.format, results)
	}
	return codec.Guard(c.mark, "decode", func() error { return c.codec.Decode(bytes.Clone(body), results) })
}

// unseal decrypts the body of the entry of a key, if the cache seals. An error means that the
// entry is a miss, and says why.
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

// current reports whether the stored body of an entry, which was opened, is sealed by the key that
// seals now. Without Config.Seal it returns true.
func (c *coder) current(body []byte) bool { return c.seal == nil || c.seal.Current(body) }

// open makes the body of an entry ready to be decoded. An error means that the entry is a miss,
// and says why.
func (c *coder) open(e *envelope) error {
	if e.codec != c.id {
		return miss(missUnknownCodec, "byte %d: codec %d, the cache has %d", codecOffset, e.codec, c.id)
	}
	if e.flags&flagCompressed != 0 {
		body, err := codec.Decompress(e.body)
		if err != nil {
			return err
		}
		e.body, e.flags = body, e.flags&^flagCompressed
	}
	if e.flags&flagETag != 0 {
		return e.cutETag()
	}
	return nil
}

// pack compresses the body of an entry if that makes it shorter by enough. Both raw and packed
// begin with room for the header. pack does not change raw.
func (c *coder) pack(raw []byte) (packed []byte, flags byte) {
	if body := raw[envelopeHeaderLen:]; c.compressOver >= 0 && len(body) > c.compressOver {
		if packed := codec.Compress(body, envelopeHeaderLen); packed != nil {
			return packed, flagCompressed
		}
	}
	return raw, 0
}

// enclose returns the bytes of the entry under key. raw has room for the header and then the
// body. enclose compresses and seals the body, and sets the flags for that.
func (c *coder) enclose(e *envelope, raw []byte, key string) []byte {
	if e.etag != nil {
		e.flags |= flagETag
		body := raw[envelopeHeaderLen:]
		raw = append(appendETag(make([]byte, envelopeHeaderLen, len(raw)+2+maxETag), *e.etag), body...)
	}
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
	if e.life != nil {
		e.flags |= flagLifetime
	}
	if e.tags != nil {
		e.flags |= flagTagged
	}
	if e.headLen() == envelopeHeaderLen {
		e.appendTo(raw[:0])
		return raw
	}
	return append(e.appendTo(make([]byte, 0, e.headLen()+len(raw))), raw[envelopeHeaderLen:]...)
}

// encode appends results to dst.
func (f *Func) encode(c *coder, dst []byte, r shape.Results) ([]byte, error) {
	return c.encode(dst, f.sig.Encoding, r.Pointers())
}

// encodeOrdered appends results to dst so that equal results have equal encodings, as far as
// the methods of their types allow. It writes CBOR for every codec. Only if CBOR does not keep one
// of the types, the codec encodes the results.
func (f *Func) encodeOrdered(c *coder, dst []byte, r shape.Results) ([]byte, error) {
	if encoded, err := f.sig.Encoding.Append(dst, c.ordered, r.Pointers()); err == nil {
		return encoded, nil
	}
	return f.encode(c, dst, r)
}

// decode turns a body into results. The caller continues even if code of the user hangs,
// panics or ends its goroutine: see package apart.
func (f *Func) decode(c *coder, body []byte) (shape.Results, error) {
	if f.decodesApart(c) {
		return f.decodeApart(c, body)
	}
	return f.decodeHere(c, body)
}

// decodesApart reports whether decoding may run code of the user.
func (f *Func) decodesApart(c *coder) bool { return !c.ours || f.sig.Encoding.AskMethods(c.format) }

// decodeHere does what decode does, on this goroutine.
func (f *Func) decodeHere(c *coder, body []byte) (shape.Results, error) {
	r := f.shape.Blank()
	if err := c.decode(body, f.sig.Encoding, r.Pointers()); err != nil {
		return nil, err
	}
	return r, nil
}

// share returns results for one more caller: a copy of the decoded results, or, for types that
// cannot be copied, results decoded from the body again.
func (f *Func) share(c *coder, decoded shape.Results, body []byte) (shape.Results, error) {
	if f.plans.Copies == nil {
		return f.decode(c, body)
	}
	return f.shape.Copy(decoded), nil
}

// decodeApart does decodeHere on a goroutine of its own, because it runs code of the user. If
// that does not end within Options.ComputeTimeout, decodeApart returns and abandons the
// goroutine with its results: within that time the function could have computed the value again.
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
