package fence

import (
	"crypto/rand"
	"encoding/hex"
	"math"
	"strconv"
	"unsafe"

	"github.com/fncache/fncache/internal/keyhash"
)

// A Stamp is a number on the fence's own clock.
type Stamp uint64

const (
	// Unknown says that no stamp is known. It is less than every stamp.
	Unknown Stamp = 0
	// Latest is larger than every stamp of a fence.
	Latest Stamp = math.MaxUint64

	// maxDigits bounds stamps. HINCRBY counts up to 19 digits.
	maxDigits = 17
	maxStamp  = 1e17 - 1
)

// ParseStamp parses a stamp of a fence. It returns false for everything else, and for 0.
func ParseStamp(text string) (Stamp, bool) {
	if text == "" || len(text) > maxDigits || text[0] == '0' {
		return 0, false
	}
	var s Stamp
	for _, digit := range []byte(text) {
		if digit < '0' || digit > '9' {
			return 0, false
		}
		s = 10*s + Stamp(digit-'0')
	}
	return s, true
}

// String returns the decimal digits.
func (s Stamp) String() string { return strconv.FormatUint(uint64(s), 10) }

// FloorAt returns the least stamp of an invalidation at that time of the server, in milliseconds
// since the Unix epoch. It is Unknown for a time out of range. Stamps follow the time, so that a
// fence that went back in a failover gives no stamp twice.
func FloorAt(millis int64) Stamp {
	if millis <= 0 || millis > maxStamp>>10 {
		return Unknown
	}
	return Stamp(millis) << 10
}

// An Epoch identifies one life of a fence. The zero value means that there is no fence.
type Epoch [16]byte

// NewEpoch returns a random epoch.
func NewEpoch() (e Epoch) {
	for e == (Epoch{}) {
		_, _ = rand.Read(e[:]) // Read ends the program instead of returning an error
	}
	return e
}

// String returns the hex digits, in lower case.
func (e Epoch) String() string { return hex.EncodeToString(e[:]) }

// ParseEpoch parses what String returns. It returns false for everything else, and for the zero
// value.
func ParseEpoch(text string) (e Epoch, ok bool) {
	if len(text) != 2*len(e) {
		return Epoch{}, false
	}
	for _, digit := range []byte(text) {
		if digit >= 'A' && digit <= 'F' { // scripts compare texts
			return Epoch{}, false
		}
	}
	if _, err := hex.Decode(e[:], []byte(text)); err != nil {
		return Epoch{}, false
	}
	return e, e != (Epoch{})
}

// A Tag is the keyed hash of the text of a tag.
type Tag [16]byte

// What is hashed begins with one of these bytes.
const (
	tagPrefix  = 't'
	funcPrefix = 'f'
)

// TagOf returns the hash of the text of a tag. Tags are hashed as arguments are.
func TagOf(k *keyhash.Keys, text string) Tag {
	return Begin(make([]byte, 0, 64)).hash(k, text)
}

// FuncTag returns the tag of a function. If a function has tags, all its entries have this one too.
func FuncTag(k *keyhash.Keys, name string) Tag {
	return Text{funcPrefix}.hash(k, name)
}

// A Text is a tag that is being written, with the byte that comes before it.
type Text []byte

// Begin begins a tag in the memory of room.
func Begin(room []byte) Text { return append(room[:0], tagPrefix) }

// Hash hashes the tag.
func (t Text) Hash(k *keyhash.Keys) Tag { return k.String(t).Bytes() }

func (t Text) hash(k *keyhash.Keys, text string) Tag { return append(t, text...).Hash(k) }

// String returns the hex digits: the name of the tag's field.
func (t Tag) String() string { return hex.EncodeToString(t[:]) }

// Raw returns tags as plain hashes. The result shares their memory.
func Raw(tags []Tag) [][16]byte {
	return unsafe.Slice((*[16]byte)(unsafe.Pointer(unsafe.SliceData(tags))), len(tags))
}

// ParseTag parses what String returns.
func ParseTag(text string) (t Tag, ok bool) {
	if len(text) != 2*len(t) {
		return Tag{}, false
	}
	_, err := hex.Decode(t[:], []byte(text))
	return t, err == nil
}

// A Mark is a tag of an entry, with the present stamp from before the entry's value was computed.
type Mark struct {
	Tag   Tag
	Stamp Stamp
}
