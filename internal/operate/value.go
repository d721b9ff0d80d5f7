package operate

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// anyMode reads CBOR without knowing its types, within the limits of what the library writes.
var anyMode = func() cbor.DecMode {
	mode, err := cbor.DecOptions{
		DefaultMapType:   reflect.TypeFor[map[any]any](),
		UTF8:             cbor.UTF8DecodeInvalid,
		TimeTag:          cbor.DecTagOptional,
		TimeTagToAny:     cbor.TimeTagToRFC3339Nano,
		MaxNestedLevels:  256,
		MaxArrayElements: math.MaxInt32,
		MaxMapPairs:      math.MaxInt32,
	}.DecMode()
	if err != nil {
		panic(err) // the options are wrong
	}
	return mode
}()

// Value returns the results in the body of an entry as encoding/json can write them.
func Value(e *Entry) (any, error) {
	switch e.Codec {
	case CBOR:
		return valueOfCBOR(e.Body)
	case JSON:
		if !json.Valid(e.Body) {
			return nil, errors.New("the body is not JSON")
		}
		return json.RawMessage(e.Body), nil
	default:
		return nil, fmt.Errorf("a codec of the program has written the body, of %d bytes", len(e.Body))
	}
}

// valueOfCBOR returns the results in a body, in a form for JSON. Bytes become base64. Numbers that
// JSON does not have, and keys of maps, become texts.
func valueOfCBOR(body []byte) (any, error) {
	var value any
	if err := anyMode.Unmarshal(body, &value); err != nil {
		return nil, fmt.Errorf("the body cannot be shown: %w", err)
	}
	return plain(value), nil
}

// plain returns a value of CBOR in a form that encoding/json can write.
func plain(value any) any {
	switch v := value.(type) {
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
		return v
	case map[any]any:
		shown := make(map[string]any, len(v))
		for key, elem := range v {
			shown[fmt.Sprint(plain(key))] = plain(elem)
		}
		return shown
	case []byte:
		return base64.StdEncoding.EncodeToString(v)
	case cbor.ByteString:
		return base64.StdEncoding.EncodeToString([]byte(v))
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Sprint(v)
		}
		return v
	case big.Int:
		return v.String()
	case time.Time:
		return v.Format(time.RFC3339Nano)
	case cbor.Tag:
		return map[string]any{"tag": v.Number, "value": plain(v.Content)}
	case cbor.SimpleValue:
		return fmt.Sprintf("simple(%d)", v)
	default: // nil, bool, string, int64, uint64
		return v
	}
}
