package counter

import (
	"bytes"
	"fmt"
	"image/color"
	"image/jpeg"
	"strings"
	"testing"
)

func plane(width, height int, luma byte) []byte {
	return bytes.Repeat([]byte{luma}, width*height)
}

func read(luma []byte, width, height int) (int, bool) {
	return Read(width, height, func(x, y int) int { return int(luma[y*width+x]) })
}

func TestReadsWhatIsDrawn(t *testing.T) {
	for _, size := range [][2]int{{640, 360}, {1280, 720}, {320, 180}, {480, 270}, {64, 36}} {
		for _, number := range []int{0, 1, 2, 0x5555, 0xaaaa, 0x8000, Limit - 1} {
			luma := plane(size[0], size[1], 128)
			Draw(luma, size[0], size[1], number)
			if got, ok := read(luma, size[0], size[1]); got != number || !ok {
				t.Errorf("%v: drew %d, read %d, %t", size, number, got, ok)
			}
		}
	}
}

func TestJPEG(t *testing.T) {
	for _, number := range []int{0, 4711, Limit - 1} {
		picture, err := jpeg.Decode(bytes.NewReader(JPEG(number)))
		if err != nil {
			t.Fatal(err)
		}
		size := picture.Bounds().Size()
		got, ok := Read(size.X, size.Y, func(x, y int) int { return int(color.GrayModel.Convert(picture.At(x, y)).(color.Gray).Y) })
		if got != number || !ok {
			t.Errorf("drew %d, read %d, %t", number, got, ok)
		}
	}
}

func TestDoubtIsNoNumber(t *testing.T) {
	if _, ok := read(plane(640, 360, 128), 640, 360); ok {
		t.Error("read a number where there is none")
	}
	if _, ok := read(plane(40, 20, 128), 40, 20); ok {
		t.Error("read a number in a picture that is too small for one")
	}
	// Two frames blended, as a codec short of bits may: the bits that differ are grey.
	one, other := plane(640, 360, 128), plane(640, 360, 128)
	Draw(one, 640, 360, 41)
	Draw(other, 640, 360, 42)
	for i := range one {
		one[i] = byte((int(one[i]) + int(other[i])) / 2)
	}
	if got, ok := read(one, 640, 360); ok {
		t.Errorf("read %d in a blend of 41 and 42", got)
	}
}

func TestStamp(t *testing.T) {
	const width, height = 64, 36
	clip := fmt.Sprintf("YUV4MPEG2 W%d H%d F30:1 Ip C420jpeg\n", width, height)
	frame := "FRAME\n" + string(plane(width, height*3/2, 128))
	var out bytes.Buffer
	if err := Stamp(&out, strings.NewReader(clip+frame+frame+frame)); err != nil {
		t.Fatal(err)
	}
	if want := len(clip) + 3*len(frame); out.Len() != want {
		t.Fatalf("%d bytes, want %d", out.Len(), want)
	}
	for n := range 3 {
		luma := out.Bytes()[len(clip)+n*len(frame)+len("FRAME\n"):]
		if got, ok := read(luma[:width*height], width, height); got != n || !ok {
			t.Errorf("frame %d shows %d, %t", n, got, ok)
		}
	}
	for name, broken := range map[string]string{"no clip": "RIFF", "another format": "P6 64 36\n", "cut": clip + frame[:100]} {
		if err := Stamp(&out, strings.NewReader(broken)); err == nil {
			t.Errorf("%s: stamped", name)
		}
	}
}

func TestModelLooksAtRGB(t *testing.T) {
	luma := plane(modelWidth, modelHeight, 128)
	Draw(luma, modelWidth, modelHeight, 12345)
	picture := make([]byte, 0, modelWidth*modelHeight*pixelBytes)
	for _, y := range luma {
		picture = append(picture, y, y, y)
	}
	if got := look(picture); got != 12345 {
		t.Errorf("the model saw %d, want 12345", got)
	}
	if got := look(make([]byte, len(picture))); got != Unreadable {
		t.Errorf("the model saw %d in a black picture", got)
	}
}
