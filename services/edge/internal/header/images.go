package header

import "encoding/binary"

// vp8 reads a key frame's header (RFC 6386 section 9.1).
func vp8(b []byte) (width, height int) {
	if len(b) < 10 || b[0]&1 != 0 || b[3] != 0x9d || b[4] != 0x01 || b[5] != 0x2a {
		return 0, 0
	}
	return int(binary.LittleEndian.Uint16(b[6:]) & 0x3fff), int(binary.LittleEndian.Uint16(b[8:]) & 0x3fff)
}

// png reads the IHDR chunk, which is the first (PNG section 11.2.2).
func png(b []byte) (width, height int) {
	const start = "\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"
	if len(b) < len(start)+8 || string(b[:len(start)]) != start {
		return 0, 0
	}
	b = b[len(start):]
	return side(binary.BigEndian.Uint32(b)), side(binary.BigEndian.Uint32(b[4:]))
}

// side keeps sizes that no picture has from overflowing their product.
func side(v uint32) int { return int(min(v, 1<<31-1)) }

// webp reads the first chunk (RFC 9649 section 2).
func webp(b []byte) (width, height int) {
	if len(b) < 30 || string(b[:4]) != "RIFF" || string(b[8:12]) != "WEBP" {
		return 0, 0
	}
	switch data := b[20:]; string(b[12:16]) {
	case "VP8 ":
		return vp8(data)
	case "VP8L":
		if data[0] != 0x2f {
			return 0, 0
		}
		bits := binary.LittleEndian.Uint32(data[1:])
		return int(bits&0x3fff) + 1, int(bits>>14&0x3fff) + 1
	case "VP8X":
		return int(uint24(data[4:])) + 1, int(uint24(data[7:])) + 1
	}
	return 0, 0
}

func uint24(b []byte) uint32 { return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 }
