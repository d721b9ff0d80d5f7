package codec

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// Results encodes and decodes the results of a function. It is safe for concurrent use.
type Results struct {
	types []reflect.Type
	lossy bool
	cbor  plans
	// others has the plans for other formats, *plans by Format. They are made when they are first
	// needed, because the cache, and with it the codec, may be known only at the first call.
	others sync.Map
}

// plans are the plans of results in one format.
type plans struct {
	list []*Plan
	err  error // why results would not come back; it joins the faults
	asks bool  // see AskMethods
}

// CompileResults returns how results of these types are encoded; lossy is as for Compile.
// Check reports what would be lost.
func CompileResults(types []reflect.Type, lossy bool) *Results {
	return &Results{types: types, lossy: lossy, cbor: plansFor(types, CBOR, lossy)}
}

// Check reports why results would not come back from a format. The error joins the faults.
func (r *Results) Check(format Format) error { return r.plans(format).err }

// AskMethods reports whether results are decoded by methods or forms of the user.
func (r *Results) AskMethods(format Format) bool { return r.plans(format).asks }

// Append appends the results at these pointers to dst, and does not modify them. It returns a
// panic of a marshaler as an error.
func (r *Results) Append(dst []byte, format Format, from []any) ([]byte, error) {
	plans := r.plans(format)
	if plans.err != nil {
		return nil, plans.err
	}
	return appendBody(dst, format, plans.list, from)
}

// Decode reads a body into the zero values at these pointers. The decoded values share no
// memory with the body. It never panics, whatever the bytes are and whatever unmarshalers do.
func (r *Results) Decode(body []byte, format Format, into []any) error {
	plans := r.plans(format)
	if plans.err != nil {
		return plans.err
	}
	return decodeBody(body, format, plans.list, into)
}

// Describe writes everything that determines the bytes of the results. The results must have
// passed Check for the format.
func (r *Results) Describe(b *strings.Builder, format Format) {
	for _, plan := range r.plans(format).list {
		b.WriteString("\nresult ")
		plan.Describe(b)
	}
}

func (r *Results) plans(format Format) *plans {
	if format == CBOR {
		return &r.cbor
	}
	known, ok := r.others.Load(format)
	if !ok {
		made := plansFor(r.types, format, r.lossy)
		known, _ = r.others.LoadOrStore(format, &made)
	}
	return known.(*plans)
}

func plansFor(types []reflect.Type, format Format, lossy bool) plans {
	p := plans{list: make([]*Plan, len(types))}
	var faults []error
	for i, t := range types {
		plan, wrong := Compile(t, format, lossy)
		p.list[i] = plan
		for _, fault := range wrong {
			faults = append(faults, fmt.Errorf("result %d: %w", i+1, faultError(t, fault)))
		}
	}
	p.err = errors.Join(faults...)
	p.asks = slices.ContainsFunc(p.list, (*Plan).AsksMethods)
	return p
}

// faultError returns the error for a fault.
func faultError(t reflect.Type, fault Fault) error {
	where := t.String()
	if fault.Path != "" {
		where = fmt.Sprintf("%v%s (%v)", t, fault.Path, fault.Type)
	}
	text := where + " " + fault.What
	if fault.Remedy != "" { // otherwise What includes it
		text += "; " + fault.Remedy
	}
	return errors.New(text)
}

// Encode returns a body of the results at these pointers, whose types may be any. A lossy type
// is encoded without its unexported fields.
func Encode(format Format, results []any) ([]byte, error) {
	plans, err := pointedPlans(format, results)
	if err != nil {
		return nil, err
	}
	return appendBody(nil, format, plans, results)
}

// Decode reads a body that Encode wrote into the zero values at these pointers. The decoded
// values share no memory with the body.
func Decode(format Format, body []byte, results []any) error {
	plans, err := pointedPlans(format, results)
	if err != nil {
		return err
	}
	return decodeBody(body, format, plans, results)
}

// pointedPlans returns plans for the values that the pointers point to. It accepts losses, because
// wrapping the function has checked whether it accepts them. The format caches the outcome by type:
// a *Plan or an error.
func pointedPlans(format Format, pointers []any) ([]*Plan, error) {
	list := make([]*Plan, len(pointers))
	for i, pointer := range pointers {
		t := reflect.TypeOf(pointer)
		if t == nil || t.Kind() != reflect.Pointer || reflect.ValueOf(pointer).IsNil() {
			return nil, &ResultError{"find", i, t, "a codec is given pointers to results", nil}
		}
		known, ok := format.known.Load(t)
		if !ok {
			made := plansFor([]reflect.Type{t.Elem()}, format, true)
			if known = made.list[0]; made.err != nil {
				known = made.err
			}
			known, _ = format.known.LoadOrStore(t, known)
		}
		switch known := known.(type) {
		case error:
			return nil, &ResultError{"encode", i, t.Elem(), known.Error(), known}
		case *Plan:
			list[i] = known
		}
	}
	return list, nil
}
