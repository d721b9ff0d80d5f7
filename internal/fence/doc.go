// Package fence remembers, for each tag, when it was last invalidated: in one Redis hash
// for each namespace, the fence. It has the format of the fence, its scripts, and the rule
// by which an entry is judged against it. It sends nothing itself.
//
// # The fence
//
//	<namespace>:{fence}    a hash
//	    e        the epoch: 32 hex digits, random
//	    c        the present stamp
//	    f        the floor
//	    <tag>    <hard> <soft>: the stamps of the last invalidations of the tag; 0 is none
//
// A tag is a keyed hash of its text, 32 hex digits. A stamp is a number from 1 on, in
// decimal digits without a leading zero. Each invalidation has a larger stamp than the one
// before. A stamp is compared by its length and then by its digits in scripts, because a
// number of Lua has 53 bits.
//
// # Who writes it
//
// Each script begins with *open* (fence_open.lua): where there is no fence, or its c is below
// what the caller has seen of any epoch, because it went back in a failover, it makes a new
// epoch, with c above all of these, and f = c. Whoever comes second, or sends a script twice,
// finds nothing to do.
//
//   - Read (fence_read.lua) reads on the primary, after open. An absent fence stays absent
//     unless it is told to open that too.
//   - Invalidate (fence_invalidate.lua) raises c, and writes it into the field of each tag.
//
// A plain HMGET of e, c, f and fields reads too, and never writes.
//
// # The judgement
//
// An entry carries the epoch and, for each of its tags, the stamp that was the present one
// before its value was computed ([Block]). Against a [Reading] of the fence it is
//
//	Invalid      there is no fence, its epoch is another one, a stamp is below the floor,
//	             or hard > stamp for one of the tags
//	Unread       the reading does not have one of the tags, and c is larger than its stamp
//	Newer        a stamp is larger than c: the reading is older than the entry, or the
//	             fence went back
//	Expired      soft > stamp for one of the tags: stale at most
//	Valid        otherwise
//
// and the first that applies is what [Reading.Judge] returns. The floor keeps this right
// where fields were removed: it is at least the largest stamp in a field that was.
package fence
