package header

import (
	"bytes"
	"encoding/binary"
)

// Markers of JPEG (ITU-T T.81 table B.1).
const (
	markerSOF0 = 0xc0
	markerDHT  = 0xc4
	markerJPG  = 0xc8
	markerDAC  = 0xcc
	markerSOF  = 0xcf
	markerSOI  = 0xd8
	markerEOI  = 0xd9
	markerSOS  = 0xda
	markerAPP1 = 0xe1
)

// jpeg reads the segments up to the first scan: the frame header and, before it, EXIF's orientation.
func jpeg(b []byte) Info {
	info := Info{Orientation: 1}
	if len(b) < 2 || b[0] != 0xff || b[1] != markerSOI {
		return info
	}
	for b = b[2:]; len(b) >= 4 && b[0] == 0xff; {
		marker := b[1]
		if marker == 0xff { // fill byte
			b = b[1:]
			continue
		}
		size := int(binary.BigEndian.Uint16(b[2:]))
		if size < 2 || 2+size > len(b) {
			return info
		}
		if marker == markerSOS {
			// No scan holds the marker but at its end; a thumbnail's is in a segment before.
			info.Whole = bytes.Contains(b, []byte{0xff, markerEOI})
			return info
		}
		segment := b[4 : 2+size]
		switch {
		case marker == markerAPP1:
			if o := exifOrientation(segment); o != 0 {
				info.Orientation = o
			}
		case isFrameHeader(marker) && len(segment) >= 5:
			info.Height, info.Width = int(binary.BigEndian.Uint16(segment[1:])), int(binary.BigEndian.Uint16(segment[3:]))
		}
		b = b[2+size:]
	}
	return info
}

func isFrameHeader(marker byte) bool {
	return marker >= markerSOF0 && marker <= markerSOF && marker != markerDHT && marker != markerJPG && marker != markerDAC
}

// exifOrientation reads the orientation tag of IFD 0 (EXIF 2.3 section 4.6), 0 when there is none.
func exifOrientation(segment []byte) uint8 {
	const (
		tag   = 0x0112
		short = 3
		entry = 12
	)
	if len(segment) < 14 || string(segment[:6]) != "Exif\x00\x00" {
		return 0
	}
	tiff := segment[6:]
	var order binary.ByteOrder
	switch string(tiff[:4]) {
	case "II*\x00":
		order = binary.LittleEndian
	case "MM\x00*":
		order = binary.BigEndian
	default:
		return 0
	}
	start := int64(order.Uint32(tiff[4:]))
	if start+2 > int64(len(tiff)) {
		return 0
	}
	directory := tiff[start:]
	count := int(order.Uint16(directory))
	for directory = directory[2:]; count > 0 && len(directory) >= entry; directory, count = directory[entry:], count-1 {
		if order.Uint16(directory) != tag || order.Uint16(directory[2:]) != short {
			continue
		}
		if o := order.Uint16(directory[8:]); o >= 1 && o <= 8 {
			return uint8(o)
		}
		return 0
	}
	return 0
}
