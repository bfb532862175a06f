#include "textflag.h"

// masks say, for each plane and for each third of the 48 bytes of 16 pixels, which byte of the third goes where in the plane; 0x80 makes a zero, for another third to fill.
DATA masks<>+0(SB)/8, $0x80800f0c09060300
DATA masks<>+8(SB)/8, $0x8080808080808080
DATA masks<>+16(SB)/8, $0x0502808080808080
DATA masks<>+24(SB)/8, $0x80808080800e0b08
DATA masks<>+32(SB)/8, $0x8080808080808080
DATA masks<>+40(SB)/8, $0x0d0a070401808080
DATA masks<>+48(SB)/8, $0x8080800d0a070401
DATA masks<>+56(SB)/8, $0x8080808080808080
DATA masks<>+64(SB)/8, $0x0603008080808080
DATA masks<>+72(SB)/8, $0x80808080800f0c09
DATA masks<>+80(SB)/8, $0x8080808080808080
DATA masks<>+88(SB)/8, $0x0e0b080502808080
DATA masks<>+96(SB)/8, $0x8080800e0b080502
DATA masks<>+104(SB)/8, $0x8080808080808080
DATA masks<>+112(SB)/8, $0x0704018080808080
DATA masks<>+120(SB)/8, $0x8080808080800d0a
DATA masks<>+128(SB)/8, $0x8080808080808080
DATA masks<>+136(SB)/8, $0x0f0c090603008080
GLOBL masks<>(SB), RODATA|NOPTR, $144

// func part16(first, second, third, pixels *byte, blocks int)
TEXT ·part16(SB), NOSPLIT, $0-40
	MOVQ  first+0(FP), DI
	MOVQ  second+8(FP), SI
	MOVQ  third+16(FP), DX
	MOVQ  pixels+24(FP), AX
	MOVQ  blocks+32(FP), CX
	MOVOU masks<>+0(SB), X7
	MOVOU masks<>+16(SB), X8
	MOVOU masks<>+32(SB), X9
	MOVOU masks<>+48(SB), X10
	MOVOU masks<>+64(SB), X11
	MOVOU masks<>+80(SB), X12
	MOVOU masks<>+96(SB), X13
	MOVOU masks<>+112(SB), X14
	MOVOU masks<>+128(SB), X15

block:
	MOVOU (AX), X0
	MOVOU 16(AX), X1
	MOVOU 32(AX), X2

	MOVO   X0, X3
	PSHUFB X7, X3
	MOVO   X1, X4
	PSHUFB X8, X4
	POR    X4, X3
	MOVO   X2, X4
	PSHUFB X9, X4
	POR    X4, X3
	MOVOU  X3, (DI)

	MOVO   X0, X3
	PSHUFB X10, X3
	MOVO   X1, X4
	PSHUFB X11, X4
	POR    X4, X3
	MOVO   X2, X4
	PSHUFB X12, X4
	POR    X4, X3
	MOVOU  X3, (SI)

	MOVO   X0, X3
	PSHUFB X13, X3
	MOVO   X1, X4
	PSHUFB X14, X4
	POR    X4, X3
	MOVO   X2, X4
	PSHUFB X15, X4
	POR    X4, X3
	MOVOU  X3, (DX)

	ADDQ $48, AX
	ADDQ $16, DI
	ADDQ $16, SI
	ADDQ $16, DX
	DECQ CX
	JNZ  block
	RET
