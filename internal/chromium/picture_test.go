package chromium

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"testing"
)

func TestSavePicture(t *testing.T) {
	shot := image.NewRGBA(image.Rect(0, 0, 20, 20))
	shot.Set(3, 4, color.RGBA{R: 255, A: 255})
	var data bytes.Buffer
	if err := png.Encode(&data, shot); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "shot.png")
	if err := SavePicture(path, data.Bytes()); err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := png.Decode(bytes.NewReader(written))
	if err != nil {
		t.Fatal(err)
	}
	if r, g, b, _ := got.At(3, 4).RGBA(); r != 0xffff || g != 0 || b != 0 {
		t.Errorf("the red pixel is %x %x %x", r, g, b)
	}
	if err := SavePicture(path, []byte("no picture")); err == nil {
		t.Error("SavePicture of no picture = nil error")
	}
}
