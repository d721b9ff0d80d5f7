// Package fence remembers for each tag when it was last invalidated. Each namespace has one Redis
// hash for that, the fence. This package has the format of the fence, its scripts, and the rule
// that judges an entry by the fence. It sends no commands itself.
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
// before. Scripts compare stamps by their length and then by their digits, because a number of Lua
// has 53 bits.
//
// # Who writes it
//
// Each script begins with *open* (fence_open.lua). Open makes a new epoch if there is no fence, or
// if c is below the largest stamp that the caller has seen of any epoch, because the fence went
// back in a failover. In the new epoch, c is above all of these stamps, and f = c. If a second
// caller sends the script, or it is sent twice, there is nothing left to do.
//
//   - Read (fence_read.lua) reads on the primary, after open. It makes an absent fence only if it
//     is asked to.
//   - Invalidate (fence_invalidate.lua) raises c, and writes it into the field of each tag.
//
// A plain HMGET of e, c, f and fields also reads the fence. It never writes.
//
// # The judgement
//
// An entry carries an epoch, and for each of its tags a stamp ([Block]): both are the fence's from
// before the value was computed. By a [Reading] of the fence the entry is
//
//	Invalid      there is no fence, its epoch is another one, a stamp is below the floor,
//	             or hard > stamp for one of the tags
//	Unread       the reading does not have one of the tags, and c is larger than its stamp
//	Newer        a stamp is larger than c: the reading is older than the entry, or the
//	             fence went back
//	Expired      soft > stamp for one of the tags: stale at most
//	Valid        otherwise
//
// [Reading.Judge] returns the first of these that applies. The floor keeps this correct after
// fields were removed: it is at least the largest stamp in any removed field.
package fence
