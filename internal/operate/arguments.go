package operate

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/fncache/fncache/internal/keyhash"
	"github.com/fncache/fncache/internal/signature"
)

// maxReadings bounds how many combinations of types are tried for a list of arguments.
const maxReadings = 1 << 16

// A Reading is a list of arguments read as values of some parameter types.
type Reading struct {
	Types []string
	Hash  keyhash.Hash
}

// A candidate is an argument as a value of one type.
type candidate struct {
	value reflect.Value
	hash  keyhash.Hash
}

// Readings returns the hashes of arguments that are given as texts, for all parameter types that
// the texts can be: booleans, integers, floats, strings, times in RFC 3339, and JSON lists of
// these. The keys of the map are the fingerprints of the parameter types (see package releases).
// vary is the text of Options.Vary, or nil for a function without it.
func Readings(k *keyhash.Keys, args []string, vary *string) (map[string]Reading, error) {
	all := make([][]candidate, len(args))
	total := 1
	for i, arg := range args {
		var err error
		if all[i], err = candidatesOf(k, arg); err != nil {
			return nil, err
		}
		if total *= len(all[i]); total > maxReadings {
			return nil, fmt.Errorf("%d arguments can be read in more than %d ways; give the Redis key instead, as Func.Key returns it", len(args), maxReadings)
		}
	}
	found := make(map[string]Reading, total)
	chosen := make([]candidate, len(args))
	for n := range total {
		for i := range all {
			chosen[i] = all[i][n%len(all[i])]
			n /= len(all[i])
		}
		params, reading := readingOf(k, chosen, vary)
		found[params] = reading
	}
	return found, nil
}

func readingOf(k *keyhash.Keys, chosen []candidate, vary *string) (params string, r Reading) {
	sig := signature.Signature{Varies: vary != nil}
	for _, c := range chosen {
		sig.Params = append(sig.Params, c.value.Type())
		r.Types = append(r.Types, c.value.Type().String())
		r.Hash = k.Append(r.Hash, c.hash)
	}
	if vary != nil {
		r.Hash = k.Append(r.Hash, k.Text(*vary))
	}
	return sig.ParamsFingerprint(), r
}

// listTypes are the types of lists that an argument in brackets may be. Signed and unsigned
// integers with the same bits have the same hash.
var listTypes = []reflect.Type{
	reflect.TypeFor[[]string](), reflect.TypeFor[[]bool](),
	reflect.TypeFor[[]int64](), reflect.TypeFor[[]uint64](), reflect.TypeFor[[]int32](), reflect.TypeFor[[]uint32](),
	reflect.TypeFor[[]int16](), reflect.TypeFor[[]uint16](), reflect.TypeFor[[]int8](),
	reflect.TypeFor[[]float64](), reflect.TypeFor[[]float32](), reflect.TypeFor[[]time.Time](),
}

// candidatesOf returns an argument as a value of each type that can hold it.
func candidatesOf(k *keyhash.Keys, arg string) (all []candidate, err error) {
	values := scalarsOf(arg)
	if strings.HasPrefix(arg, "[") {
		for _, t := range listTypes {
			list := reflect.New(t)
			if json.Unmarshal([]byte(arg), list.Interface()) == nil {
				values = append(values, list.Elem())
			}
		}
	}
	known := make(map[string]bool)
	for _, v := range values {
		form := keyhash.Form(v.Type(), false)
		if known[form] {
			continue
		}
		known[form] = true
		hash, err := keyhash.CompileValue(v.Type(), "an argument")(k, v)
		if err != nil {
			return nil, err
		}
		all = append(all, candidate{v, hash})
	}
	return all, nil
}

// scalarsOf returns the values that a text can be: a boolean, integers, floats, a time and a
// string.
func scalarsOf(arg string) (values []reflect.Value) {
	add := func(v any) { values = append(values, reflect.ValueOf(v)) }
	add(arg)
	if arg == "true" || arg == "false" {
		add(arg == "true")
	}
	for _, t := range []reflect.Type{
		reflect.TypeFor[int64](), reflect.TypeFor[int32](), reflect.TypeFor[int16](), reflect.TypeFor[int8](),
	} {
		v := reflect.New(t).Elem()
		if n, err := strconv.ParseInt(arg, 10, t.Bits()); err == nil {
			v.SetInt(n)
		} else if n, err := strconv.ParseUint(arg, 10, t.Bits()); err == nil {
			v.SetInt(int64(n)) // the same bits
		} else {
			continue
		}
		values = append(values, v)
	}
	if x, err := strconv.ParseFloat(arg, 64); err == nil {
		add(x)
	}
	if x, err := strconv.ParseFloat(arg, 32); err == nil {
		add(float32(x))
	}
	if at, err := time.Parse(time.RFC3339Nano, arg); err == nil {
		add(at)
	}
	return values
}
