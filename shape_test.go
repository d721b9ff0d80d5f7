package fncache

import "reflect"

// encodeResults and decodeResults are the codec as tests of it see it: values of
// any types.

// cborCoder is what a cache has by default.
var cborCoder = newCoder(&Config{Codec: CBOR{}, CompressOver: DefaultCompressOver})

func encodeResults(dst []byte, results []reflect.Value) ([]byte, error) {
	from := make([]any, len(results))
	for i, v := range results {
		if !v.CanAddr() {
			fresh := reflect.New(v.Type()).Elem()
			fresh.Set(v)
			v = fresh
		}
		from[i] = v.Addr().Interface()
	}
	return cborCoder.encode(dst, from)
}

func decodeResults(body []byte, types []reflect.Type) ([]reflect.Value, error) {
	f := &Func{sig: &signature{results: types}}
	f.shape = reflectedShapeOf(f)
	r, err := f.decode(cborCoder, body)
	if err != nil {
		return nil, err
	}
	return r.(*reflectedResults).values, nil
}
