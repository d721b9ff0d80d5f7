// Package fncacheproto is a codec for results that are messages of Protocol Buffers. CBOR
// would lose unknown fields of a message, and has no form for a oneof.
//
//	cache, err := fncache.New(fncache.Config{Redis: client, Codec: fncacheproto.Codec})
//
// A pointer to a generated message is stored by [proto.Marshal], wherever it is: as a result, or
// within slices, maps and structs. Everything else is stored as by [fncache.CBOR], and refused if
// CBOR refuses it. A message that is read is equal to the stored one by [proto.Equal], with its
// unknown fields. A nil pointer comes back as nil.
//
// In the keys of a function its message types count by their full names alone, such as
// shop.v1.Book. So a release in which a field was added to a message reads what older releases have
// stored, and older releases read what it has stored. That follows the rules of Protocol Buffers: a
// field number never changes its meaning. Change [fncache.Options.Name] if these rules are broken.
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
	// Lazy decoding could fail after the entry was accepted.
	unmarshal = proto.UnmarshalOptions{AllowPartial: true, NoLazyDecoding: true}
)

// formOf returns the form of a pointer type, or nil if it does not point to a message.
func formOf(pointer reflect.Type) (*fncache.Form, error) {
	if !pointer.Implements(messageType) {
		return nil, nil
	}
	if pointer == dynamicType {
		return nil, errors.New("has its fields in a descriptor that is not part of the type, so it cannot be read back; return a pointer to a generated message")
	}
	message := reflect.New(pointer.Elem()).Interface().(proto.Message).ProtoReflect()
	if reflect.TypeOf(message.Interface()) != pointer {
		// A struct that embeds a message has the message's methods, which do not know its other
		// fields. CBOR stores the struct, and uses this form for the message in it.
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
