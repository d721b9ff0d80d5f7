package fncache

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/fncache/fncache/internal/codec"
)

// This file has what is known of the results of a function when it is wrapped: how
// each type is encoded, and why one cannot be.

// resultPlans are how the results of a function are encoded, by type.
type resultPlans struct {
	cbor []*codec.Plan
	// json returns the plans for JSON. They are made when they are first needed,
	// because the cache, and so its codec, may be found at the first call only.
	json func() ([]*codec.Plan, error)
}

// newResultPlans makes the plans for results of these types. The errors say which of
// them would not come back from CBOR, which is what decides where the codec is not
// known yet.
func newResultPlans(types []reflect.Type, lossy bool) (*resultPlans, error) {
	p := &resultPlans{json: sync.OnceValues(func() ([]*codec.Plan, error) { return plansFor(types, codec.JSON, lossy) })}
	var err error
	p.cbor, err = plansFor(types, codec.CBOR, lossy)
	return p, err
}

// askMethods reports whether results are decoded by methods of the user's own. Under
// JSON they are the same or fewer.
func (p *resultPlans) askMethods() bool {
	return slices.ContainsFunc(p.cbor, (*codec.Plan).AsksMethods)
}

func plansFor(types []reflect.Type, format codec.Format, lossy bool) ([]*codec.Plan, error) {
	plans := make([]*codec.Plan, len(types))
	var faults []error
	for i, t := range types {
		plan, wrong := codec.Compile(t, format, lossy)
		plans[i] = plan
		for _, fault := range wrong {
			faults = append(faults, fmt.Errorf("result %d: %w", i+1, faultError(t, fault)))
		}
	}
	return plans, errors.Join(faults...)
}

// faultError says what is wrong with a part of a type.
func faultError(t reflect.Type, fault codec.Fault) error {
	where := t.String()
	if fault.Path != "" {
		where = fmt.Sprintf("%v%s (%v)", t, fault.Path, fault.Type)
	}
	return fmt.Errorf("%s %s; %s", where, fault.What, fault.Remedy)
}

// describe writes all that decides about the bytes of results.
func describe(b *strings.Builder, plans []*codec.Plan) {
	for _, plan := range plans {
		b.WriteString("\nresult ")
		plan.Describe(b)
	}
}

// knownPlans has the plans that CBOR and JSON made by themselves, by type: *codec.Plan
// or error.
var knownPlans [2]sync.Map

// pointedPlans returns plans for what the pointers point to. They are made for [CBOR]
// and [JSON] as a codec of the user's calls them: whether a function accepts losses is
// not known there, but was checked when it was wrapped.
func pointedPlans(format codec.Format, pointers []any) ([]*codec.Plan, error) {
	plans := make([]*codec.Plan, len(pointers))
	for i, pointer := range pointers {
		t := reflect.TypeOf(pointer)
		if t == nil || t.Kind() != reflect.Pointer || reflect.ValueOf(pointer).IsNil() {
			return nil, &codecError{"find", i, t, "a codec is given pointers to results", nil}
		}
		known, ok := knownPlans[format].Load(t)
		if !ok {
			plan, err := plansFor([]reflect.Type{t.Elem()}, format, true)
			if known = plan[0]; err != nil {
				known = err
			}
			known, _ = knownPlans[format].LoadOrStore(t, known)
		}
		switch known := known.(type) {
		case error:
			return nil, &codecError{"encode", i, t.Elem(), known.Error(), known}
		case *codec.Plan:
			plans[i] = known
		}
	}
	return plans, nil
}
