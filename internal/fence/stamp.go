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
	// Unknown is the stamp of what nothing is known about. It is less than every other.
	Unknown Stamp = 0
	// Latest is larger than every stamp of a fence.
	Latest Stamp = math.MaxUint64

	// maxDigits bounds stamps. HINCRBY counts up to 19 digits.
	maxDigits = 17
	maxStamp  = 1e17 - 1
)

// ParseStamp reads a stamp of a fence. It reports false for everything else, and for 0.
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

// FloorAt returns the least stamp of an invalidation at that time of the server, in
// milliseconds since the Unix epoch: so a fence that went back in a failover gives no stamp
// twice.
func FloorAt(millis int64) Stamp {
	if millis <= 0 || millis > maxStamp>>10 {
		return Unknown
	}
	return Stamp(millis) << 10
}

// An Epoch is the life of a fence. The zero value is that of no fence.
type Epoch [16]byte

// NewEpoch returns a random one.
func NewEpoch() (e Epoch) {
	for e == (Epoch{}) {
		_, _ = rand.Read(e[:]) // it ends the program rather than return an error
	}
	return e
}

// String returns the hex digits, in lower case.
func (e Epoch) String() string { return hex.EncodeToString(e[:]) }

// ParseEpoch reads what String returns. It reports false for everything else, and for the
// zero value.
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

// What is hashed begins with one of these.
const (
	tagPrefix  = 't'
	funcPrefix = 'f'
)

// TagOf hashes the text of a tag, as arguments are hashed.
func TagOf(k *keyhash.Keys, text string) Tag {
	return Begin(make([]byte, 0, 64)).hash(k, text)
}

// FuncTag is the tag that every entry of a function with tags has.
func FuncTag(k *keyhash.Keys, name string) Tag {
	return Text{funcPrefix}.hash(k, name)
}

// A Text is a tag that is being written, with what stands before it.
type Text []byte

// Begin begins a tag in memory that is there already.
func Begin(room []byte) Text { return append(room[:0], tagPrefix) }

// Hash hashes the tag.
func (t Text) Hash(k *keyhash.Keys) Tag { return k.String(t).Bytes() }

func (t Text) hash(k *keyhash.Keys, text string) Tag { return append(t, text...).Hash(k) }

// String returns the hex digits: the name of the tag's field.
func (t Tag) String() string { return hex.EncodeToString(t[:]) }

// Raw returns tags as the hashes that they are. It shares their memory.
func Raw(tags []Tag) [][16]byte {
	return unsafe.Slice((*[16]byte)(unsafe.Pointer(unsafe.SliceData(tags))), len(tags))
}

// ParseTag reads what String returns.
func ParseTag(text string) (t Tag, ok bool) {
	if len(text) != 2*len(t) {
		return Tag{}, false
	}
	_, err := hex.Decode(t[:], []byte(text))
	return t, err == nil
}

// A Mark is a tag of an entry, with the stamp of what the entry was computed from.
type Mark struct {
	Tag   Tag
	Stamp Stamp
}
