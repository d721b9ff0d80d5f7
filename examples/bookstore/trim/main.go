// Command trim cuts what is empty below a page from pictures of it, for pictures.sh.
//
//	go run ./trim FILE.png...
package main

import (
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"os"
)

// margin is how many rows stay below the page.
const margin = 24

func main() {
	for _, path := range os.Args[1:] {
		if err := trim(path); err != nil {
			fmt.Fprintln(os.Stderr, "trim:", err)
			os.Exit(1)
		}
	}
}

func trim(path string) error {
	in, err := os.Open(path) //nolint:gosec // the caller names it
	if err != nil {
		return err
	}
	picture, err := png.Decode(in)
	_ = in.Close() // it was only read
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	whole := picture.Bounds()
	whole.Max.Y = min(whole.Max.Y, lastRow(picture)+1+margin)
	page := image.NewRGBA(whole)
	draw.Draw(page, whole, picture, whole.Min, draw.Src)
	out, err := os.Create(path) //nolint:gosec // the caller names it
	if err != nil {
		return err
	}
	if err := png.Encode(out, page); err != nil {
		_ = out.Close() // the file is not whole anyway
		return fmt.Errorf("%s: %w", path, err)
	}
	return out.Close()
}

// lastRow returns the last row that differs from the lower left corner.
func lastRow(picture image.Image) int {
	b := picture.Bounds()
	empty := picture.At(b.Min.X, b.Max.Y-1)
	for y := b.Max.Y - 1; y > b.Min.Y; y-- {
		for x := b.Min.X; x < b.Max.X; x++ {
			if picture.At(x, y) != empty {
				return y
			}
		}
	}
	return b.Max.Y - 1
}
