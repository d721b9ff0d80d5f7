package fncache

import (
	"github.com/fncache/fncache/internal/codec"
)

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
func (JSON) Encode(results []any) ([]byte, error) {
	plans, err := pointedPlans(codec.JSON, results)
	if err != nil {
		return nil, err
	}
	return encodeAll(nil, plans, results, jsonMarks)
}

// Decode implements [Codec]. The results share no memory with body.
func (JSON) Decode(body []byte, results []any) error {
	plans, err := pointedPlans(codec.JSON, results)
	if err != nil {
		return err
	}
	return decodeJSON(body, plans, results)
}

var jsonMarks = bodyMarks{
	open:  func(dst []byte, _ int) []byte { return append(dst, '[') },
	comma: ",",
	end:   "]",
}

// decodeJSON is decodeCBOR for JSON.
func decodeJSON(body []byte, plans []*codec.Plan, into []any) error {
	r := codec.NewReader(body)
	if !r.Skip("[") {
		return miss(missCorrupt, "the body is not a JSON array")
	}
	for at := range into {
		if at > 0 && !r.Skip(",") {
			return miss(missCorrupt, "the body has %d of %d results", at, len(into))
		}
		if err := decodeOne(r, plans[at], at, into[at]); err != nil {
			return err
		}
	}
	if !r.Skip("]") {
		return miss(missCorrupt, "the body does not end after %d results", len(into))
	}
	if r.Rest() > 0 {
		return miss(missCorrupt, "there is something behind the array")
	}
	return nil
}
