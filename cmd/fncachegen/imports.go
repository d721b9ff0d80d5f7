package main

import (
	"fmt"
	"go/types"
	"maps"
	"path"
	"slices"
	"strings"
)

// imports are the packages that a file imports, each under a different name.
type imports struct {
	home  *types.Package
	names map[string]string // by path
	taken map[string]bool
}

// newImports returns the imports of a file in a package. No import gets a name that the package or
// the language declares, or the name of a local variable of the generated code.
func newImports(home *types.Package) *imports {
	i := &imports{home: home, names: make(map[string]string), taken: make(map[string]bool)}
	for _, name := range slices.Concat(home.Scope().Names(), types.Universe.Names(), locals) {
		i.taken[name] = true
	}
	return i
}

// locals are the local variables of the generated code that are declared where imports are used.
var locals = []string{"c", "cache", "next", "options", "funcs", "wrapped", "faults", "complete", "own", "method", "f", "err"}

// add imports a package, and returns its name in the file.
func (i *imports) add(path, name string) string {
	if known, ok := i.names[path]; ok {
		return known
	}
	given := name
	for n := 2; i.taken[given]; n++ {
		given = fmt.Sprintf("%s%d", name, n)
	}
	i.taken[given] = true
	i.names[path] = given
	return given
}

// reserve keeps the name of a type parameter from later imports. It returns false if an import or a
// local variable has the name.
func (i *imports) reserve(name string) bool {
	for _, used := range i.names {
		if used == name {
			return false
		}
	}
	i.taken[name] = true
	return !slices.Contains(locals, name)
}

// text returns a type as the file writes it.
func (i *imports) text(t types.Type) string {
	return types.TypeString(t, func(p *types.Package) string {
		if p == i.home {
			return ""
		}
		return i.add(p.Path(), p.Name())
	})
}

// block writes the import declaration: packages of the standard library first.
func (i *imports) block() string {
	var standard, others []string
	for _, p := range slices.Sorted(maps.Keys(i.names)) {
		line := fmt.Sprintf("\t%q\n", p)
		if name := i.names[p]; name != path.Base(p) {
			line = fmt.Sprintf("\t%s %q\n", name, p)
		}
		if first, _, _ := strings.Cut(p, "/"); strings.Contains(first, ".") {
			others = append(others, line)
		} else {
			standard = append(standard, line)
		}
	}
	return "import (\n" + strings.Join(standard, "") + "\n" + strings.Join(others, "") + ")\n"
}
