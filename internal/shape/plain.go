package shape

import (
	"reflect"
	"slices"
	"unsafe"

	"github.com/fncache/fncache/internal/signature"
)

// Plain holds a call's arguments unhashed: up to four numbers and two strings. Two calls of a
// function with the same Plain have the same arguments. It is comparable, and is made without
// hashing or allocation.
type Plain struct {
	N [4]uint64
	S [2]string
}

// placeOfString is the place of the first string. Smaller places are of numbers.
const placeOfString = 16

// placesOf returns the place of each parameter: an index of Plain.N, or placeOfString plus an index
// of Plain.S. vary is the index in Plain.S for the result of Options.Vary. places is nil if the
// arguments do not fit in a Plain.
func placesOf(sig *signature.Signature) (places []int, vary int) {
	places = make([]int, len(sig.Params))
	numbers, strings := 0, 0
	for i, t := range sig.Params {
		switch {
		case t.Kind() == reflect.String:
			places[i] = placeOfString + strings
			strings++
		case signature.IsNumber(t.Kind()), t.Kind() == reflect.Bool:
			places[i] = numbers
			numbers++
		default:
			return nil, 0
		}
	}
	if sig.Varies {
		vary = strings
		strings++
	}
	if numbers > len(Plain{}.N) || strings > len(Plain{}.S) {
		return nil, 0
	}
	return places, vary
}

// IsPlain reports whether the arguments and the result of Options.Vary fit in a Plain.
func (p *Plans) IsPlain() bool { return p.places != nil }

// IsWide reports whether the arguments fit in a Plain and take more than two of its
// numbers.
func (p *Plans) IsWide() bool { return slices.Contains(p.places, 2) }

// AddVary puts the result of Options.Vary into a key, if the key has it.
func (p *Plans) AddVary(key *Plain, vary string) {
	if p.Sig.Varies {
		key.S[p.vary] = vary
	}
}

// A param is one field of a struct of arguments.
type param struct {
	offset uintptr
	size   uintptr
}

// plainMemory puts the plain arguments at an address into a key.
func plainMemory(key *Plain, at unsafe.Pointer, params []param, places []int) {
	for i, place := range places {
		p := &params[i]
		switch at := unsafe.Add(at, p.offset); {
		case place >= placeOfString:
			key.S[place-placeOfString] = *(*string)(at)
		case p.size == 8:
			key.N[place] = *(*uint64)(at)
		case p.size == 4:
			key.N[place] = uint64(*(*uint32)(at))
		case p.size == 2:
			key.N[place] = uint64(*(*uint16)(at))
		default:
			key.N[place] = uint64(*(*uint8)(at))
		}
	}
}
