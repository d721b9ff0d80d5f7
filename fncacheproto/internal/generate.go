// Package internal says how the messages of the tests are generated. It needs protoc, Debian's
// protobuf-compiler and libprotobuf-dev.
package internal

//go:generate go build -o protoc-gen-go google.golang.org/protobuf/cmd/protoc-gen-go
//go:generate protoc --plugin=./protoc-gen-go --go_out=. --go_opt=paths=source_relative shop/shop.proto
//go:generate protoc --plugin=./protoc-gen-go --go_out=. --go_opt=paths=source_relative next/shop.proto
//go:generate protoc --plugin=./protoc-gen-go --go_out=. --go_opt=paths=source_relative,default_api_level=API_OPAQUE opaque/opaque.proto
//go:generate rm protoc-gen-go
