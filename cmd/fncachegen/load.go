package main

import (
	"errors"
	"fmt"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/tools/go/packages"
)

// A source is the package of the interfaces.
type source struct {
	pkg    *types.Package
	fset   *token.FileSet
	faults []packages.Error // of the package, or of what it imports
}

// load reads the package in the task's directory. It treats its own earlier output as an empty
// file, because that may be out of date. Faults of the package are not errors yet, because code
// that uses the generated code does not compile before it is generated.
func (t *task) load() (*source, error) {
	output, err := filepath.Abs(t.output)
	if err != nil {
		return nil, err
	}
	cfg := &packages.Config{
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedCompiledGoFiles | packages.NeedImports | packages.NeedTypes | packages.NeedSyntax | packages.NeedTypesInfo,
		Dir:  t.dir,
		Fset: token.NewFileSet(),
	}
	found, err := packages.Load(cfg, ".")
	if err == nil && len(found) == 1 && slices.Contains(found[0].GoFiles, output) {
		cfg.Overlay = map[string][]byte{output: []byte("package " + found[0].Name + "\n")}
		cfg.Fset = token.NewFileSet()
		found, err = packages.Load(cfg, ".")
	}
	if err != nil {
		return nil, fmt.Errorf("load the package in %s: %w", t.dir, err)
	}
	if len(found) != 1 || found[0].Types == nil || len(found[0].GoFiles) == 0 {
		why := errors.New("there is no Go file")
		if len(found) > 0 && len(found[0].Errors) > 0 {
			why = found[0].Errors[0]
		}
		return nil, fmt.Errorf("load the package in %s: %w", t.dir, why)
	}
	if found[0].PkgPath == "command-line-arguments" {
		return nil, fmt.Errorf("the package in %s is in no module, so its methods have no permanent names; run go mod init", t.dir)
	}
	return &source{found[0].Types, cfg.Fset, found[0].Errors}, nil
}

// at returns the place of a declaration, for errors.
func (s *source) at(pos token.Pos) string {
	p := s.fset.Position(pos)
	if !p.IsValid() {
		return "an unknown place"
	}
	return fmt.Sprintf("%s:%d", filepath.Base(p.Filename), p.Line)
}

// find returns an interface of the package.
func (s *source) find(name string) (*types.TypeName, *types.Interface, error) {
	object, ok := s.pkg.Scope().Lookup(name).(*types.TypeName)
	if !ok {
		return nil, nil, fmt.Errorf("package %s has no type %s%s", s.pkg.Path(), name, s.interfaces())
	}
	in, ok := object.Type().Underlying().(*types.Interface)
	switch {
	case !ok:
		return nil, nil, fmt.Errorf("%s (%s) is a %s, not an interface; name an interface%s", name, s.at(object.Pos()), kindOf(object.Type()), s.interfaces())
	case !in.IsMethodSet():
		return nil, nil, fmt.Errorf("%s (%s) is a constraint for type parameters, which no value has; name an interface of methods alone", name, s.at(object.Pos()))
	case in.NumMethods() == 0:
		return nil, nil, fmt.Errorf("%s (%s) has no methods; there is nothing to cache", name, s.at(object.Pos()))
	}
	return object, in, nil
}

// interfaces returns the list of interfaces in the package, for errors.
func (s *source) interfaces() string {
	var names []string
	for _, name := range s.pkg.Scope().Names() {
		object, ok := s.pkg.Scope().Lookup(name).(*types.TypeName)
		if !ok {
			continue
		}
		if in, ok := object.Type().Underlying().(*types.Interface); ok && in.IsMethodSet() && in.NumMethods() > 0 {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "; the package has no interface with methods"
	}
	return "; its interfaces are " + strings.Join(names, ", ")
}

// kindOf returns what errors call a type.
func kindOf(t types.Type) string {
	switch u := t.Underlying().(type) {
	case *types.Struct:
		return "struct"
	case *types.Signature:
		return "func"
	case *types.Pointer:
		return "pointer"
	case *types.Interface:
		return "interface"
	case *types.Chan:
		return "channel"
	case *types.Map:
		return "map"
	case *types.Slice:
		return "slice"
	case *types.Basic:
		return u.Name()
	default:
		return "type of another kind"
	}
}

// unknown returns an error if a part of a type did not type-check, or cannot be written in
// the package.
func (s *source) unknown(t types.Type) error {
	var fault error
	walk(t, make(map[types.Type]bool), func(part types.Type) {
		switch part := part.(type) {
		case *types.Basic:
			if part.Kind() == types.Invalid && fault == nil {
				fault = errors.New("a type that is not known")
				if len(s.faults) > 0 {
					fault = fmt.Errorf("a type that is not known (%w)", s.faults[0])
				}
			}
		case interface{ Obj() *types.TypeName }:
			of := part.Obj()
			if of.Pkg() != nil && of.Pkg() != s.pkg && !of.Exported() {
				fault = fmt.Errorf("%s.%s, which package %s does not export", of.Pkg().Name(), of.Name(), of.Pkg().Path())
			}
		}
	})
	return fault
}

// walk visits the parts of a type that its text contains.
func walk(t types.Type, seen map[types.Type]bool, visit func(types.Type)) {
	if seen[t] {
		return
	}
	seen[t] = true
	visit(t)
	switch t := t.(type) {
	case *types.Named:
		for arg := range t.TypeArgs().Types() {
			walk(arg, seen, visit)
		}
	case *types.Alias:
		for arg := range t.TypeArgs().Types() {
			walk(arg, seen, visit)
		}
	case *types.Signature:
		for v := range t.Params().Variables() {
			walk(v.Type(), seen, visit)
		}
		for v := range t.Results().Variables() {
			walk(v.Type(), seen, visit)
		}
	case *types.Struct:
		for field := range t.Fields() {
			walk(field.Type(), seen, visit)
		}
	case *types.Interface:
		for embedded := range t.EmbeddedTypes() {
			walk(embedded, seen, visit)
		}
		for method := range t.ExplicitMethods() {
			walk(method.Type(), seen, visit)
		}
	case *types.Union:
		for term := range t.Terms() {
			walk(term.Type(), seen, visit)
		}
	case *types.Map:
		walk(t.Key(), seen, visit)
		walk(t.Elem(), seen, visit)
	case interface{ Elem() types.Type }: // arrays, slices, pointers, channels
		walk(t.Elem(), seen, visit)
	}
}
