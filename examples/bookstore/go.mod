module github.com/fncache/fncache/examples/bookstore

go 1.26.0

require (
	github.com/alicebob/miniredis/v2 v2.40.0
	github.com/fncache/fncache v0.0.0
	github.com/redis/go-redis/v9 v9.23.0
	github.com/stretchr/testify v1.12.1
	modernc.org/sqlite v1.62.0
)

replace github.com/fncache/fncache => ../..
