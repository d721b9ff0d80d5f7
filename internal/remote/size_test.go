package remote

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
)

// Every hit in Redis allocates a Command. Go allocates more than 512 bytes in a more expensive way.
func TestACommandIsAllocatedInTheCheapWay(t *testing.T) {
	assert.LessOrEqual(t, unsafe.Sizeof(Command{}), uintptr(512))
}
