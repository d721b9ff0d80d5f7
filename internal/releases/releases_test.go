package releases

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestADescriptionComesBack(t *testing.T) {
	for name, about := range map[string]Description{
		"nothing": {},
		"all":     {Types: "func(int64) (map[string]=x, error)", Codec: `codec "a b"`, Options: "timeout=1h", Build: "example.com/x@(devel) abc\n%"},
		"tagged":  {Codec: "tagged"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, hasTags := range []bool{false, true} {
				noted := Noted("p", hasTags, about)
				got := Records([]any{"sig", "1800000000 1800086400 " + noted})
				require.Len(t, got, 1)
				assert.Equal(t, about, got[0].About)
				assert.Equal(t, hasTags, got[0].Tagged)
				assert.Equal(t, "p", got[0].Params)
			}
		})
	}
}

func TestADescriptionIsBounded(t *testing.T) {
	noted := Noted("p", false, Description{Types: strings.Repeat("é ", 1000)})
	assert.Less(t, len(noted), 10*mostText)
	assert.Contains(t, Records([]any{"sig", "1 2 " + noted})[0].About.Types, "é é")
}

func TestADamagedDescriptionIsLeftOut(t *testing.T) {
	got := Records([]any{"sig", "1 2 p later=x types=%zz build= tagged codec"})
	assert.Equal(t, Description{}, got[0].About)
	assert.True(t, got[0].Tagged)
}
