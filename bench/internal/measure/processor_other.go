//go:build !unix

package measure

import "math"

// processor is not known.
func processor() float64 { return math.NaN() }
