//go:build !unix

package measure

import "math"

// processor returns NaN, because the processor time is not known here.
func processor() float64 { return math.NaN() }
