package measure

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCatalogIsReadByItsHeader(t *testing.T) {
	weights, err := readCatalog(strings.NewReader("book_id,title,ratings_count\n1,\"A, B\",10\n2,C,30\n"))
	require.NoError(t, err)
	require.Equal(t, []float64{10, 30}, weights)
}

func TestBadCatalogIsRefusedWithItsPlace(t *testing.T) {
	for content, want := range map[string]string{
		"":                              "header",
		"id,title\n1,A\n":               "no column ratings_count",
		"id,ratings_count\n1,5\n2,x\n":  "line 3",
		"id,ratings_count\n1,5\n2,-4\n": "line 3",
		"id,ratings_count\n1,5,6\n":     "line 2",
		"id,ratings_count\n":            "no row",
		"id,ratings_count\n1,0\n":       "no row",
	} {
		_, err := readCatalog(strings.NewReader(content))
		require.ErrorContains(t, err, want, "%q", content)
	}
	file := filepath.Join(t.TempDir(), "c.csv")
	require.NoError(t, os.WriteFile(file, []byte("id\n"), 0o600))
	_, err := LoadCatalog(file)
	require.ErrorContains(t, err, file)
	_, err = LoadCatalog(file + ".gone")
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestKeyIsDrawnByItsShare(t *testing.T) {
	p := newPopularity("", []float64{1, 0, 3})
	for at, want := range map[float64]int{0: 0, 0.2: 0, 0.25: 2, 0.5: 2, 0.999: 2} {
		require.Equal(t, want, p.Key(at), "at %v", at)
	}
}

func TestDrawsFollowThePopularityAndRepeat(t *testing.T) {
	p := newPopularity("", []float64{1, 0, 3})
	draws := p.Draws(10_000)
	counts := map[int64]int{}
	for _, key := range draws {
		counts[key]++
	}
	require.InDelta(t, 2500, counts[0], 250)
	require.Zero(t, counts[1])
	require.InDelta(t, 7500, counts[2], 250)
	require.Equal(t, draws, p.Draws(10_000))
}

// This tests the shares in the comment above the constants.
func TestZipfHasTheDocumentedShares(t *testing.T) {
	p := Zipf(10_000)
	share := func(keys int) float64 { return p.sums[keys-1] / p.sums[len(p.sums)-1] }
	require.InDelta(t, 0.009, share(1), 0.001)
	require.InDelta(t, 0.27, share(100), 0.01)
	require.InDelta(t, 0.59, share(1000), 0.01)
	require.Equal(t, 10_000, p.Keys())
}

func TestPopularityIsBuiltInWithoutAFile(t *testing.T) {
	p, err := PopularityOf("", 5)
	require.NoError(t, err)
	require.Equal(t, 5, p.Keys())
	_, err = PopularityOf(filepath.Join(t.TempDir(), "none.csv"), 5)
	require.ErrorIs(t, err, os.ErrNotExist)
}
