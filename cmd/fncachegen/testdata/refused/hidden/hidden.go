// Package hidden has an interface that only it can implement, because of a type.
package hidden

type secret struct{ A int }

// A Getter returns what it does not export.
type Getter interface {
	Get(id int) secret
}
