package measure

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"sort"
	"strconv"
)

// A Popularity has the share of requests of each key.
type Popularity struct {
	Origin string // its source, for human readers
	sums   []float64
}

// The built-in popularity: the key of rank r, from 1, is requested in proportion to
// 1/(r+shift)^exponent. The head is flatter than that of Zipf's law, as in bestseller lists. Of
// 10,000 keys the first has 0.9 % of the calls, the first hundred 27 %, the first thousand 59 %.
const (
	zipfShift    = 10
	zipfExponent = 0.9
)

// Zipf returns the built-in popularity.
func Zipf(keys int) *Popularity {
	weights := make([]float64, keys)
	for i := range weights {
		weights[i] = math.Pow(float64(i+1+zipfShift), -zipfExponent)
	}
	return newPopularity(fmt.Sprintf("built-in: 1/(rank+%d)^%v", zipfShift, zipfExponent), weights)
}

// Uniform returns a popularity in which all keys are requested equally often.
func Uniform(keys int) *Popularity {
	return newPopularity("uniform", slices.Repeat([]float64{1}, keys))
}

func newPopularity(origin string, weights []float64) *Popularity {
	p := &Popularity{Origin: origin, sums: make([]float64, len(weights))}
	sum := 0.0
	for i, w := range weights {
		sum += w
		p.sums[i] = sum
	}
	return p
}

// catalogColumn is the column of a catalogue that says how popular a row is.
const catalogColumn = "ratings_count"

// PopularityOf reads the popularity from a catalogue. If file is "", it returns the built-in
// popularity of that many keys.
func PopularityOf(file string, keys int) (*Popularity, error) {
	if file == "" {
		return Zipf(keys), nil
	}
	return LoadCatalog(file)
}

// LoadCatalog reads the popularity from a CSV file with a header and a column
// ratings_count. A row is a key.
func LoadCatalog(file string) (*Popularity, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	weights, err := readCatalog(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return newPopularity(fmt.Sprintf("%s of a catalogue of %d", catalogColumn, len(weights)), weights), nil
}

func readCatalog(r io.Reader) ([]float64, error) {
	rows := csv.NewReader(r)
	header, err := rows.Read()
	if err != nil {
		return nil, fmt.Errorf("read the header: %w", err)
	}
	at := slices.Index(header, catalogColumn)
	if at < 0 {
		return nil, fmt.Errorf("the header has no column %s; it has %q", catalogColumn, header)
	}
	var weights []float64
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		weight, err := strconv.ParseUint(row[at], 10, 63)
		if err != nil {
			line, _ := rows.FieldPos(at)
			return nil, fmt.Errorf("line %d: %s is %q; it must be a whole number", line, catalogColumn, row[at])
		}
		weights = append(weights, float64(weight))
	}
	if len(weights) == 0 || slices.Max(weights) == 0 {
		return nil, fmt.Errorf("no row has a %s above 0", catalogColumn)
	}
	return weights, nil
}

// Keys returns how many keys there are.
func (p *Popularity) Keys() int { return len(p.sums) }

// Key returns the key at a position in the sum of all shares, from 0 to below 1.
func (p *Popularity) Key(at float64) int {
	at *= p.sums[len(p.sums)-1]
	// A key's part ends below its sum.
	return min(sort.Search(len(p.sums), func(i int) bool { return p.sums[i] > at }), len(p.sums)-1)
}

// Draws draws random keys, the same ones every time, so that all runners get the same requests
// and do not pay for drawing.
func (p *Popularity) Draws(n int) []int64 {
	random := rand.New(rand.NewPCG(1, 2))
	draws := make([]int64, n)
	for i := range draws {
		draws[i] = int64(p.Key(random.Float64()))
	}
	return draws
}
