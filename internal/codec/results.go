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
	cbor []*Plan
	// json returns the plans for JSON. They are made at first use, because the cache, and with
	// it the codec, may be unknown until the first call.
	json func() ([]*Plan, error)
}

// CompileResults returns the plans for results of these types; lossy is as for Compile. The
// error joins the faults of the types that would not come back from CBOR. CBOR decides, because
// the codec is not known yet.
func CompileResults(types []reflect.Type, lossy bool) (*Results, error) {
	r := &Results{json: sync.OnceValues(func() ([]*Plan, error) { return plansFor(types, JSON, lossy) })}
	var err error
	r.cbor, err = plansFor(types, CBOR, lossy)
	return r, err
}

// Check reports why results would not come back from a format. The error joins the faults.
func (r *Results) Check(format Format) error {
	_, err := r.plans(format)
	return err
}

// AskMethods reports whether results are decoded by methods of the user. JSON uses the same
// methods as CBOR, or fewer.
func (r *Results) AskMethods() bool { return slices.ContainsFunc(r.cbor, (*Plan).AsksMethods) }

// Append appends the results at these pointers to dst, and does not modify them. It returns a
// panic of a marshaler as an error.
func (r *Results) Append(dst []byte, format Format, from []any) ([]byte, error) {
	plans, err := r.plans(format)
	if err != nil {
		return nil, err
	}
	return appendBody(dst, format, plans, from)
}

// Decode reads a body into the zero values at these pointers. The decoded values share no
// memory with the body. It never panics, whatever the bytes are and whatever unmarshalers do.
func (r *Results) Decode(body []byte, format Format, into []any) error {
	plans, err := r.plans(format)
	if err != nil {
		return err
	}
	return decodeBody(body, format, plans, into)
}

// Describe writes everything that determines the bytes of the results. The results must have
// passed Check for the format.
func (r *Results) Describe(b *strings.Builder, format Format) {
	plans, _ := r.plans(format)
	for _, plan := range plans {
		b.WriteString("\nresult ")
		plan.Describe(b)
	}
}

func (r *Results) plans(format Format) ([]*Plan, error) {
	if format == JSON {
		return r.json()
	}
	return r.cbor, nil
}

func plansFor(types []reflect.Type, format Format, lossy bool) ([]*Plan, error) {
	plans := make([]*Plan, len(types))
	var faults []error
	for i, t := range types {
		plan, wrong := Compile(t, format, lossy)
		plans[i] = plan
		for _, fault := range wrong {
			faults = append(faults, fmt.Errorf("result %d: %w", i+1, faultError(t, fault)))
		}
	}
	return plans, errors.Join(faults...)
}

// faultError returns the error for a fault.
func faultError(t reflect.Type, fault Fault) error {
	where := t.String()
	if fault.Path != "" {
		where = fmt.Sprintf("%v%s (%v)", t, fault.Path, fault.Type)
	}
	return fmt.Errorf("%s %s; %s", where, fault.What, fault.Remedy)
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

// knownPlans has the results of Encode's and Decode's compilations, by format and type: *Plan
// or error.
var knownPlans [2]sync.Map

// pointedPlans returns plans for the types of the pointers' targets. Losses are allowed here,
// because wrapping has checked whether the function accepts them.
func pointedPlans(format Format, pointers []any) ([]*Plan, error) {
	plans := make([]*Plan, len(pointers))
	for i, pointer := range pointers {
		t := reflect.TypeOf(pointer)
		if t == nil || t.Kind() != reflect.Pointer || reflect.ValueOf(pointer).IsNil() {
			return nil, &ResultError{"find", i, t, "a codec is given pointers to results", nil}
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
			return nil, &ResultError{"encode", i, t.Elem(), known.Error(), known}
		case *Plan:
			plans[i] = known
		}
	}
	return plans, nil
}
