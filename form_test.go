package fncache_test

import (
	"context"
	"encoding/binary"
	"errors"
	"reflect"
	"testing"
	"time"

	. "github.com/fncache/fncache"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A sealedCount hides its value, and a sealedName too.
type (
	sealedCount struct{ n uint64 }
	sealedName  struct{ s string }
	sealedNever struct{ _ int }
	sealedPanic struct{ _ int }
	sealedHalf  struct{ _ int }
)

// formsOf is the FormCodec.Form of the tests.
func formsOf(version string) func(reflect.Type) (*Form, error) {
	return func(pointer reflect.Type) (*Form, error) {
		switch pointer {
		case reflect.TypeFor[*sealedCount]():
			return &Form{
				"count " + version,
				func(v any) ([]byte, error) { return binary.AppendUvarint(nil, v.(*sealedCount).n), nil },
				func(body []byte, v any) error {
					n, size := binary.Uvarint(body)
					if size != len(body) {
						return errors.New("no count")
					}
					v.(*sealedCount).n = n
					return nil
				},
			}, nil
		case reflect.TypeFor[*sealedName]():
			return &Form{
				"name", func(v any) ([]byte, error) { return []byte(v.(*sealedName).s), nil },
				func(body []byte, v any) error { v.(*sealedName).s = string(body); return nil },
			}, nil
		case reflect.TypeFor[*sealedNever]():
			return nil, errors.New("is never stored; return something else")
		case reflect.TypeFor[*sealedPanic]():
			panic("oh")
		case reflect.TypeFor[*sealedHalf]():
			return &Form{Name: "half"}, nil
		}
		return nil, nil
	}
}

// sealingCodec is a codec around one with forms.
type sealingCodec struct{ FormCodec }

func (sealingCodec) Name() string { return "sealing" }

func (c sealingCodec) Encode(results []any) ([]byte, error) {
	body, err := c.FormCodec.Encode(results)
	return xor(body), err
}

func (c sealingCodec) Decode(body []byte, results []any) error {
	return c.FormCodec.Decode(xor(body), results)
}

// A sealedPage has forms at every place where a pointer can stand.
type sealedPage struct {
	Count, None *sealedCount
	Names       []*sealedName
	ByKey       map[string]*sealedCount
	Deep        **sealedCount
	Plain       int
}

func TestFormsStoreWhatCBORRefuses(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		count := &sealedCount{3}
		page := sealedPage{Count: count, Names: []*sealedName{{"a"}, nil, {""}}, ByKey: map[string]*sealedCount{"k": {5}, "nil": nil}, Deep: &count, Plain: 7}
		forms := CBORWith("forms", formsOf("1"))
		keys := map[string]bool{}
		for _, codec := range []Codec{forms, CBORWith("forms", formsOf("2")), CBORWith("other forms", formsOf("1")), sealingCodec{forms}} {
			fn := func(context.Context) (sealedPage, *sealedCount, error) { return page, nil, nil }
			f := must(Wrap(&fn, Options{Cache: b.cache(withCodec(codec)), Name: "test.Page", Timeout: time.Minute, Near: time.Second}))
			for range 3 {
				got, none, err := fn(t.Context())
				require.NoError(t, err)
				require.Equal(t, page, got)
				require.Nil(t, none)
				require.NotSame(t, page.Count, got.Count)
			}
			assert.EqualValues(t, 1, f.Stats().Computations, "the version of a form is part of keys")
			keys[must(f.Key())] = true
		}
		assert.Len(t, keys, 4)
		assert.Empty(t, b.log.About(""))
	})
}

func TestRefusalsOfFormsNameThePlace(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		opts := Options{Cache: b.cache(withCodec(CBORWith("forms", formsOf("1")))), Name: "test.Refused", Timeout: time.Minute}
		value := func() (sealedCount, error) { return sealedCount{}, nil }
		_, err := Wrap(&value, opts)
		require.ErrorContains(t, err, "has no exported field", "a form is that of pointers")
		never := func() ([]struct{ A *sealedNever }, error) { return nil, nil }
		_, err = Wrap(&never, opts)
		require.ErrorContains(t, err, "result 1: []struct { A *fncache_test.sealedNever }[].A (*fncache_test.sealedNever) is never stored; return something else")
		panics := func() (*sealedPanic, error) { return nil, nil }
		_, err = Wrap(&panics, opts)
		require.ErrorContains(t, err, "because the Form method of the codec panicked: panic with a string; correct the method")
		half := func() (*sealedHalf, error) { return nil, nil }
		_, err = Wrap(&half, opts)
		require.ErrorContains(t, err, "it needs a Name, Encode and Decode")
		opts.Cache = b.cache()
		count := func() (*sealedCount, error) { return nil, nil }
		_, err = Wrap(&count, opts)
		require.ErrorContains(t, err, "has no exported field", "under CBOR")
	})
}

// A form may hang: a caller that waits for the decoded value must still be able to leave.
func TestFormsDecodeApartAndOtherResultsDoNot(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		opts := Options{Cache: b.cache(withCodec(CBORWith("forms", formsOf("1")))), Timeout: time.Minute}
		counts := func() ([]*sealedCount, error) { return nil, nil }
		numbers := func() ([]int, error) { return nil, nil }
		opts.Name = "test.Counts"
		assert.True(t, must(Wrap(&counts, opts)).DecodesApart(opts.Cache))
		opts.Name = "test.Numbers"
		assert.False(t, must(Wrap(&numbers, opts)).DecodesApart(opts.Cache))
	})
}

func TestAFormCountsByItsNameInKeys(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		type before struct{ _ int }
		type after struct{ _, _ int }
		named := func(pointer reflect.Type) (*Form, error) {
			return &Form{"it", func(any) ([]byte, error) { return nil, nil }, func([]byte, any) error { return nil }}, nil
		}
		opts := Options{Cache: b.cache(withCodec(CBORWith("forms", named))), Name: "test.Form", Timeout: time.Minute}
		older := func() ([]*before, error) { return nil, nil }
		newer := func() ([]*after, error) { return nil, nil }
		f := must(Wrap(&older, opts))
		key := must(f.Key())
		f.Unwrap()
		assert.Equal(t, key, must(must(Wrap(&newer, opts)).Key()))
	})
}
