package main

import (
	"errors"
	"fmt"
	"go/token"
	"go/types"
	"maps"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A model has what the template needs for one interface.
type model struct {
	Type     string // the interface's name
	Name     string // of the functions in keys, before the method
	Params   string // type parameters, declared: "[K comparable]"; "" if there are none
	Args     string // and used: "[K]"
	Options  string // names that are declared
	Funcs    string
	Cache    string
	Cached   string
	Prefix   string // names of struct fields; no method has the same name
	Next     string
	Fields   string
	Methods  []method
	declared []string
}

// A method is a method of the interface.
type method struct {
	Name, Receiver string
	Params         string // as they are declared: "(ctx context.Context, ids ...int64)"
	Results        string // "(Book, error)"
	Call           string // as they are passed on: "ctx, ids..."
	Returns        bool
	Why            string // why it cannot be cached; "" if it can

	// For a handle that knows the types of the method: which of Wrap1 to Wrap3 and WrapBatch makes
	// it, "1" or "Batch", and its type, "Func1[int64, Book]". Otherwise "" and "Func".
	Wrap, Handle string
}

// Typed reports whether the handle of the method knows the types of the method.
func (m method) Typed() bool { return m.Wrap != "" }

// Cacheable reports whether the method can have options.
func (m method) Cacheable() bool { return m.Why == "" }

// Generic reports whether the interface has type parameters.
func (m *model) Generic() bool { return m.Params != "" }

// build makes the model of an interface. It removes the methods of the interface from batches, which
// has the names of methods that return values for many ids.
func (s *source) build(name, stem string, batches map[string]bool, imports *imports) (*model, error) {
	object, in, err := s.find(name)
	if err != nil {
		return nil, err
	}
	if stem == "" {
		stem = name
	}
	if !token.IsIdentifier(stem) {
		return nil, fmt.Errorf("-name %q is not an identifier; write it as in -name Books", stem)
	}
	first, size := utf8.DecodeRuneInString(stem)
	upper := string(unicode.ToUpper(first)) + stem[size:]
	cache := "cache"
	if token.IsExported(stem) {
		cache = "Cache"
	}
	m := &model{
		Type: name, Name: s.pkg.Path() + "." + name,
		Options: stem + "Options", Funcs: stem + "Funcs", Cache: cache + upper, Cached: "cached" + upper,
	}
	m.declared = []string{m.Options, m.Funcs, m.Cache, m.Cached}
	for _, id := range m.declared {
		if other := s.pkg.Scope().Lookup(id); other != nil {
			return nil, fmt.Errorf("%s would be declared a second time (it is at %s); choose other names by -name", id, s.at(other.Pos()))
		}
	}
	names := make(map[string]bool) // of methods
	for i := range in.NumMethods() {
		names[in.Method(i).Name()] = true
	}
	m.Prefix, m.Next, m.Fields = unused("Prefix", names), unused("next", names), unused("funcs", names)
	typeParams, err := m.generic(object, imports)
	if err != nil {
		return nil, fmt.Errorf("%s (%s): %w", name, s.at(object.Pos()), err)
	}
	cacheable := 0
	for i := range in.NumMethods() { // sorted by name
		one, err := s.method(in.Method(i), typeParams, batches[in.Method(i).Name()], imports)
		if err != nil {
			return nil, fmt.Errorf("method %s.%s (%s): %w", name, in.Method(i).Name(), s.at(in.Method(i).Pos()), err)
		}
		if one.Cacheable() {
			cacheable++
		}
		m.Methods = append(m.Methods, one)
	}
	maps.DeleteFunc(batches, func(method string, _ bool) bool { return names[method] })
	if cacheable == 0 {
		return nil, fmt.Errorf("%s (%s): no method can be cached: %s %s; name an interface with a method that returns a value", name, s.at(object.Pos()), m.Methods[0].Name, m.Methods[0].Why)
	}
	return m, nil
}

// unused returns a name that is not among names.
func unused(name string, names map[string]bool) string {
	for names[name] {
		name += "_"
	}
	return name
}

// generic notes the type parameters of the interface, and returns their names.
func (m *model) generic(object *types.TypeName, imports *imports) (map[string]bool, error) {
	var list *types.TypeParamList
	switch t := object.Type().(type) {
	case *types.Named:
		list = t.TypeParams()
	case *types.Alias:
		list = t.TypeParams()
	}
	names := make(map[string]bool)
	if list.Len() == 0 {
		return names, nil
	}
	var declared, used []string
	for i := range list.Len() {
		p := list.At(i)
		name := p.Obj().Name()
		if name == "_" {
			return nil, fmt.Errorf("type parameter %d has no name; name it", i+1)
		}
		if !imports.reserve(name) {
			return nil, fmt.Errorf("type parameter %s has the name of a variable or an import in the generated code; rename it, to a capital letter for instance", name)
		}
		names[name] = true
		used = append(used, name)
		declared = append(declared, name+" "+imports.text(p.Constraint()))
	}
	m.Params, m.Args = "["+strings.Join(declared, ", ")+"]", "["+strings.Join(used, ", ")+"]"
	return names, nil
}

// method makes the model of a method. No parameter gets a name in taken. batch reports whether the
// method returns values for many ids.
func (s *source) method(fn *types.Func, taken map[string]bool, batch bool, imports *imports) (method, error) {
	if !fn.Exported() && fn.Pkg() != s.pkg {
		return method{}, fmt.Errorf("it is unexported in package %s, so no other package can implement it; run fncachegen there, or name an interface without it", fn.Pkg().Path())
	}
	sig := fn.Signature()
	if err := s.unknown(sig); err != nil {
		return method{}, fmt.Errorf("it has %w; fix that, and run fncachegen again", err)
	}
	m := method{Name: fn.Name(), Returns: sig.Results().Len() > 0, Why: whyNot(sig)}
	names := parameters(sig, taken)
	used := make(map[string]bool)
	var declared, call []string
	for i, name := range names {
		used[name] = true
		t := sig.Params().At(i).Type()
		if sig.Variadic() && i == len(names)-1 {
			declared = append(declared, name+" ..."+imports.text(t.(*types.Slice).Elem()))
			call = append(call, name+"...")
			continue
		}
		declared = append(declared, name+" "+imports.text(t))
		call = append(call, name)
	}
	var results []string
	for v := range sig.Results().Variables() {
		results = append(results, imports.text(v.Type()))
	}
	for name := range taken {
		used[name] = true
	}
	if m.Wrap, m.Handle = handleOf(sig, imports); batch {
		id, value := batchOf(sig)
		if id == nil {
			return method{}, errors.New("it is given in -batch, and has another form; make it a method of a context and []K that returns map[K]V and an error, or leave it out of -batch")
		}
		if m.Why != "" {
			return method{}, fmt.Errorf("it is given in -batch, but cannot be cached: it %s; leave it out of -batch", m.Why)
		}
		m.Wrap, m.Handle = "Batch", "BatchFunc["+imports.text(id)+", "+imports.text(value)+"]"
	}
	m.Receiver = unused("c", used)
	m.Params, m.Call = "("+strings.Join(declared, ", ")+")", strings.Join(call, ", ")
	switch len(results) {
	case 0:
	case 1:
		m.Results = " " + results[0]
	default:
		m.Results = " (" + strings.Join(results, ", ") + ")"
	}
	return m, nil
}

// handleOf returns which of Wrap1 to Wrap3 wraps a method, "1", and the type of its handle. A method
// of another form than a context, one to three arguments, one result and an error has a Func.
func handleOf(sig *types.Signature, imports *imports) (wrap, handle string) {
	n := sig.Params().Len() - 1
	if n < 1 || n > 3 || sig.Variadic() || !isContext(sig.Params().At(0).Type()) ||
		sig.Results().Len() != 2 || !types.Identical(sig.Results().At(1).Type(), errorType) {
		return "", "Func"
	}
	var list []string
	for i := range n {
		list = append(list, imports.text(sig.Params().At(i+1).Type()))
	}
	list = append(list, imports.text(sig.Results().At(0).Type()))
	wrap = strconv.Itoa(n)
	return wrap, "Func" + wrap + "[" + strings.Join(list, ", ") + "]"
}

// batchOf returns K and V for a method of a context and []K that returns map[K]V and an error, and
// nil for others.
func batchOf(sig *types.Signature) (id, value types.Type) {
	if sig.Params().Len() != 2 || sig.Variadic() || !isContext(sig.Params().At(0).Type()) ||
		sig.Results().Len() != 2 || !types.Identical(sig.Results().At(1).Type(), errorType) {
		return nil, nil
	}
	ids, isSlice := types.Unalias(sig.Params().At(1).Type()).(*types.Slice)
	values, isMap := types.Unalias(sig.Results().At(0).Type()).(*types.Map)
	if !isSlice || !isMap || !types.Identical(ids.Elem(), values.Key()) {
		return nil, nil
	}
	return values.Key(), values.Elem()
}

// parameters returns a name for each parameter. It is the parameter's own name if that can be used.
func parameters(sig *types.Signature, taken map[string]bool) []string {
	used := make(map[string]bool)
	for name := range taken {
		used[name] = true
	}
	for v := range sig.Params().Variables() {
		used[v.Name()] = true
	}
	var names []string
	for i := range sig.Params().Len() {
		v := sig.Params().At(i)
		name := v.Name()
		switch {
		case name != "" && name != "_" && !taken[name]:
			names = append(names, name)
			continue
		case i == 0 && isContext(v.Type()):
			name = "ctx"
		default:
			name = "p" + strconv.Itoa(i+1)
		}
		name = unused(name, used)
		used[name] = true
		names = append(names, name)
	}
	return names
}

func isContext(t types.Type) bool {
	named, ok := types.Unalias(t).(*types.Named)
	return ok && named.Obj().Pkg() != nil && named.Obj().Pkg().Path() == "context" && named.Obj().Name() == "Context"
}

var errorType = types.Universe.Lookup("error").Type()

// whyNot says why a method cannot be cached, judged by the kinds of its parameters and results.
// fncache checks the whole types when the program starts.
func whyNot(sig *types.Signature) string {
	values := 0
	for i := range sig.Results().Len() {
		t := sig.Results().At(i).Type()
		if i == sig.Results().Len()-1 && types.Identical(t, errorType) {
			continue
		}
		values++
		if kind := refused(t, false); kind != "" {
			return fmt.Sprintf("returns %s, which does not survive being stored", kind)
		}
	}
	if values == 0 {
		return "has no result to cache"
	}
	for i := range sig.Params().Len() {
		t := sig.Params().At(i).Type()
		if i == 0 && isContext(t) {
			continue
		}
		if kind := refused(t, true); kind != "" {
			return fmt.Sprintf("takes %s as parameter %d, which cannot be part of a key", kind, i+1)
		}
	}
	return ""
}

// refused returns the kind of type that fncache refuses in t, or "". It looks at t itself, and at
// the elements if t is a slice, array, map or pointer.
func refused(t types.Type, param bool) string {
	if _, ok := t.(*types.TypeParam); ok {
		return "" // the type argument is not known yet
	}
	switch u := t.Underlying().(type) {
	case *types.Chan:
		return "a channel"
	case *types.Signature:
		return "a func"
	case *types.Interface:
		return "an interface"
	case *types.Pointer:
		if param {
			return "a pointer"
		}
		return refusedIn(u.Elem(), param)
	case *types.Slice:
		return refusedIn(u.Elem(), param)
	case *types.Array:
		return refusedIn(u.Elem(), param)
	case *types.Map:
		if kind := refusedIn(u.Key(), param); kind != "" {
			return kind
		}
		return refusedIn(u.Elem(), param)
	default:
		return ""
	}
}

// refusedIn is like refused, for an element. Named types end the search, because they may have an
// encoding of their own, or contain themselves.
func refusedIn(t types.Type, param bool) string {
	if _, named := types.Unalias(t).(*types.Named); named {
		if _, in := t.Underlying().(*types.Interface); !in {
			return ""
		}
	}
	return refused(t, param)
}
