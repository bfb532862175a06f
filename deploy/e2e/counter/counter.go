// Package counter puts a frame's number into its picture and reads it back, whatever a codec and a scaler did to the picture in between. With it a test can tell which frame
// a model got. browser/pages/blocks.js is the same in JavaScript.
package counter

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
)

// The number is a row of 16 blocks, white for 1 and black for 0, the most significant bit first, and its complement in a row below. Places are in units of a grid that divides the
// picture's width into 32 columns and its height into 18 rows, so they survive scaling: the rows begin in column 1 and lie in rows 1 and 2 (a block is 20 × 20 pixels at 640 × 360).
const (
	bits    = 16
	columns = 32
	rows    = 18
	first   = 1 // column of the first block
	top     = 1 // row of the number; its complement is in the next
	// contrast is the least difference of the luma between a block and its complement, of 255; codecs leave some 200.
	contrast = 64
)

// Limit is one more than the largest number.
const Limit = 1 << bits

// Read gives the number in a picture of width × height pixels, or false when there is none that can be read without doubt. at gives a pixel's brightness, 0 to 255.
func Read(width, height int, at func(x, y int) int) (number int, ok bool) {
	if width < 2*columns || height < 2*rows {
		return 0, false
	}
	for bit := range bits {
		difference := block(width, height, first+bit, top, at) - block(width, height, first+bit, top+1, at)
		number <<= 1
		switch {
		case difference >= contrast:
			number |= 1
		case difference > -contrast:
			return 0, false
		}
	}
	return number, true
}

// block gives the mean brightness of the middle of a block.
func block(width, height, column, row int, at func(x, y int) int) int {
	left, right := (4*column+1)*width/(4*columns), (4*column+3)*width/(4*columns)
	upper, lower := (4*row+1)*height/(4*rows), (4*row+3)*height/(4*rows)
	sum, count := 0, 0
	for y := upper; y < max(lower, upper+1); y++ {
		for x := left; x < max(right, left+1); x++ {
			sum += at(x, y)
			count++
		}
	}
	return sum / count
}

// Draw puts a number into a plane of luma samples (BT.601, limited range) of width × height pixels.
func Draw(luma []byte, width, height, number int) {
	for y := top * height / rows; y < (top+2)*height/rows; y++ {
		inverse := y >= (top+1)*height/rows
		for x := first * width / columns; x < (first+bits)*width/columns; x++ {
			bit := bits - 1 - (x*columns/width - first)
			if (number>>bit&1 == 1) != inverse {
				luma[y*width+x] = 235
			} else {
				luma[y*width+x] = 16
			}
		}
	}
}

// JPEG gives a grey picture of 320 × 180 pixels with a number in it.
func JPEG(number int) []byte {
	const width, height, grey = 320, 180, 128
	picture := image.NewYCbCr(image.Rect(0, 0, width, height), image.YCbCrSubsampleRatio420)
	for _, plane := range [][]byte{picture.Y, picture.Cb, picture.Cr} {
		for i := range plane {
			plane[i] = grey
		}
	}
	Draw(picture.Y, width, height, number)
	var b bytes.Buffer
	_ = jpeg.Encode(&b, picture, nil) // A buffer takes everything.
	return b.Bytes()
}

// Stamp copies a clip in the YUV4MPEG2 format (4:2:0) and draws each frame's number into it, from 0.
func Stamp(to io.Writer, from io.Reader) error {
	in := bufio.NewReader(from)
	header, err := in.ReadString('\n')
	if err != nil {
		return fmt.Errorf("the clip's header: %w", err)
	}
	var width, height int
	if _, err := fmt.Sscanf(header, "YUV4MPEG2 W%d H%d", &width, &height); err != nil || width <= 0 || height <= 0 {
		return fmt.Errorf("%q is no header of a YUV4MPEG2 clip", header)
	}
	if _, err := io.WriteString(to, header); err != nil {
		return err
	}
	frame := make([]byte, width*height+2*((width+1)/2)*((height+1)/2))
	for number := 0; ; number++ {
		line, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) && line == "" {
			return nil
		}
		if err != nil {
			return fmt.Errorf("frame %d: %w", number, err)
		}
		if _, err := io.ReadFull(in, frame); err != nil {
			return fmt.Errorf("frame %d: %w", number, err)
		}
		Draw(frame, width, height, number%Limit)
		if _, err := io.WriteString(to, line); err != nil {
			return err
		}
		if _, err := to.Write(frame); err != nil {
			return err
		}
	}
}
