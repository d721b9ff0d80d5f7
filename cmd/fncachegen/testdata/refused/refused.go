// Package refused has types for which nothing can be generated. It does not compile: it uses a type
// that does not exist, and a type that is generated.
package refused

import (
	"context"
	"go/ast"
	"go/types"

	"github.com/fncache/fncache/cmd/fncachegen/testdata/refused/hidden"
)

type Struct struct{ A int }

type Number interface{ ~int | ~string }

type Empty interface{}

type Unknown interface {
	Get(ctx context.Context) (Missing, error)
}

type Foreign interface {
	ast.Expr // has the unexported method exprNode
	Get() int
}

type Nothing interface {
	Add(ctx context.Context, id int) error
}

type Blank[_ any] interface {
	Get(ctx context.Context, id int) (int, error)
}

type Batch interface {
	All(ctx context.Context, ids []int) (map[int]any, error)
}

type Taken interface {
	Get(ctx context.Context, id int) (int, error)
}

type TakenOptions struct{}

type Fine interface {
	Get(ctx context.Context, id int) (types.BasicKind, error)
}

type Secret interface {
	hidden.Getter
}

var _, _, _ = CacheFine(nil, nil, FineOptions{}) // it exists after it was generated

type Local[cache any] interface {
	Get(ctx context.Context, id int) (cache, error)
}
