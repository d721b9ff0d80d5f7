//go:build unix

package measure

import (
	"math"
	"syscall"
)

// processor returns the processor time that this process has used so far, in nanoseconds, including
// the kernel's time on its behalf.
func processor() float64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return math.NaN()
	}
	return float64(used.Utime.Nano() + used.Stime.Nano())
}
