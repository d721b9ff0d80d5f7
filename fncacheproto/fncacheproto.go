// Package fncacheproto is a codec for results that are messages of Protocol Buffers. CBOR
// would lose unknown fields of a message, and has no form for a oneof.
//
//	cache, err := fncache.New(fncache.Config{Redis: client, Codec: fncacheproto.Codec})
//
// A pointer to a generated message is stored by [proto.Marshal], wherever it stands: as a
// result, or within slices, maps and structs. Everything else is stored as by
// [fncache.CBOR], and refused where CBOR refuses it. A message comes back as [proto.Equal]
// has it, with its unknown fields; a nil pointer comes back as nil.
//
// In the keys of a function its message types count by their full names alone, such as
// shop.v1.Book. So a release in which a field was added to a message reads what older ones
// have stored, and the other way round, by the rules of Protocol Buffers: a field number
// never changes its meaning. Change [fncache.Options.Name] where these rules are broken.
//
// The codec must be known when a function is wrapped: set [fncache.Options.Cache], or call
// [fncache.SetDefault] before.
package fncacheproto

import (
	"errors"
	"reflect"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/fncache/fncache"
)

// Codec is the codec, for [fncache.Config]. It is safe for concurrent use.
var Codec = fncache.CBORWith("fncacheproto1", formOf)

var (
	messageType = reflect.TypeFor[proto.Message]()
	dynamicType = reflect.TypeFor[*dynamicpb.Message]()

	marshal = proto.MarshalOptions{AllowPartial: true, Deterministic: true}
	// What is decoded lazily could fail after the entry was accepted.
	unmarshal = proto.UnmarshalOptions{AllowPartial: true, NoLazyDecoding: true}
)

// formOf returns the form of a pointer type, if it is that of a message.
func formOf(pointer reflect.Type) (*fncache.Form, error) {
	if !pointer.Implements(messageType) {
		return nil, nil
	}
	if pointer == dynamicType {
		return nil, errors.New("has its fields in a descriptor that is not part of the type, so it cannot be read back; return a pointer to a generated message")
	}
	message := reflect.New(pointer.Elem()).Interface().(proto.Message).ProtoReflect()
	if reflect.TypeOf(message.Interface()) != pointer {
		// A struct that embeds a message has its methods, which know nothing of its
		// other fields. CBOR stores it, and this form the message in it.
		return nil, nil
	}
	return &fncache.Form{
		Name:   "proto " + string(message.Descriptor().FullName()),
		Encode: encode,
		Decode: decode,
	}, nil
}

func encode(v any) ([]byte, error) { return marshal.Marshal(v.(proto.Message)) }

func decode(body []byte, v any) error { return unmarshal.Unmarshal(body, v.(proto.Message)) }
