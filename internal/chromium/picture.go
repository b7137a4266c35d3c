package chromium

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"os"
	"slices"
)

// maxPicture is what a README should not exceed.
const maxPicture = 200_000

// SavePicture writes a screenshot with its 256 most frequent colours, which is small enough for a README.
func SavePicture(path string, shot []byte) error {
	full, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		return err
	}
	times := map[color.Color]int{}
	for y := range full.Bounds().Dy() {
		for x := range full.Bounds().Dx() {
			times[full.At(x, y)]++
		}
	}
	colours := slices.SortedFunc(maps.Keys(times), func(a, b color.Color) int { return times[b] - times[a] })
	small := image.NewPaletted(full.Bounds(), colours[:min(256, len(colours))])
	draw.Draw(small, full.Bounds(), full, image.Point{}, draw.Src)
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, small); err != nil {
		return err
	}
	if out.Len() > maxPicture {
		return fmt.Errorf("chromium: %s would be %d bytes, want at most %d", path, out.Len(), maxPicture)
	}
	return os.WriteFile(path, out.Bytes(), 0o644)
}
