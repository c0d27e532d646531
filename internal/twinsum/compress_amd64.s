//go:build !purego

#include "textflag.h"

// Two digests take the same blocks. Intel's "SHA Extensions" paper of 2013 has the
// meaning of the instructions; FIPS 180-4, section 6.2.2, what they compute. The message
// schedule is made once; the rounds of one digest run while those of the other wait.

// The two digests: words f e b a and h g d c of each.
#define A_FEBA X1
#define A_HGDC X2
#define B_FEBA X3
#define B_HGDC X4

// Sixteen words of the message schedule, four in each.
#define W0 X5
#define W1 X6
#define W2 X7
#define W3 X8

#define TEMP X9
#define FLIP X10

// HALF does two rounds of both digests, with the words and constants in the lower
// half of X0.
#define HALF(a1, a2, b1, b2) \
	SHA256RNDS2 X0, a1, a2; \
	SHA256RNDS2 X0, b1, b2

// FIRST and SECOND do four rounds, with words w and the constants of group i.
#define FIRST(i, w) \
	MOVO  w, X0;           \
	PADDD (i*16)(AX), X0;  \
	HALF(A_FEBA, A_HGDC, B_FEBA, B_HGDC)

#define SECOND \
	PSHUFD $0x0e, X0, X0; \
	HALF(A_HGDC, A_FEBA, B_HGDC, B_FEBA)

// EXTEND completes the next four words of the schedule from the last four, w, and
// those before, prior. SHA256MSG1 has begun them two groups ago.
#define EXTEND(w, next, prior) \
	MOVO       w, TEMP;         \
	PALIGNR    $4, prior, TEMP; \
	PADDD      TEMP, next;      \
	SHA256MSG2 w, next

#define LOAD(i, w) \
	MOVOU  (i*16)(SI), w; \
	PSHUFB FLIP, w

#define GROUP(i, w, next, prior) \
	FIRST(i, w);            \
	EXTEND(w, next, prior); \
	SECOND;                 \
	SHA256MSG1 w, prior

// func compressPacked(a, b *[8]uint32, p []byte)
TEXT ·compressPacked(SB), NOSPLIT, $0-40
	MOVQ  a+0(FP), DI
	MOVQ  b+8(FP), DX
	MOVQ  p_base+16(FP), SI
	MOVQ  p_len+24(FP), CX
	ANDQ  $~63, CX
	ADDQ  SI, CX
	MOVQ  $constants<>(SB), AX
	MOVOU flip<>(SB), FLIP
	MOVOU 0(DI), A_FEBA
	MOVOU 16(DI), A_HGDC
	MOVOU 0(DX), B_FEBA
	MOVOU 16(DX), B_HGDC
	JMP   more

block:
	MOVO A_FEBA, X11
	MOVO A_HGDC, X12
	MOVO B_FEBA, X13
	MOVO B_HGDC, X14

	LOAD(0, W0)
	FIRST(0, W0)
	SECOND
	LOAD(1, W1)
	FIRST(1, W1)
	SECOND
	SHA256MSG1 W1, W0
	LOAD(2, W2)
	FIRST(2, W2)
	SECOND
	SHA256MSG1 W2, W1
	LOAD(3, W3)
	GROUP(3, W3, W0, W2)
	GROUP(4, W0, W1, W3)
	GROUP(5, W1, W2, W0)
	GROUP(6, W2, W3, W1)
	GROUP(7, W3, W0, W2)
	GROUP(8, W0, W1, W3)
	GROUP(9, W1, W2, W0)
	GROUP(10, W2, W3, W1)
	GROUP(11, W3, W0, W2)
	GROUP(12, W0, W1, W3)
	FIRST(13, W1)
	EXTEND(W1, W2, W0)
	SECOND
	FIRST(14, W2)
	EXTEND(W2, W3, W1)
	SECOND
	FIRST(15, W3)
	SECOND

	PADDD X11, A_FEBA
	PADDD X12, A_HGDC
	PADDD X13, B_FEBA
	PADDD X14, B_HGDC
	ADDQ  $64, SI

more:
	CMPQ  SI, CX
	JNE   block
	MOVOU A_FEBA, 0(DI)
	MOVOU A_HGDC, 16(DI)
	MOVOU B_FEBA, 0(DX)
	MOVOU B_HGDC, 16(DX)
	RET

// func detectSHA() bool
TEXT ·detectSHA(SB), NOSPLIT, $0-1
	XORL  AX, AX
	CPUID
	CMPL  AX, $7
	JLT   no
	MOVL  $7, AX
	XORL  CX, CX
	CPUID
	SHRL  $29, BX // EBX, bit 29: SHA
	ANDL  $1, BX
	MOVB  BX, ret+0(FP)
	RET

no:
	MOVB $0, ret+0(FP)
	RET

// The words of a message are big-endian.
DATA flip<>+0(SB)/8, $0x0405060700010203
DATA flip<>+8(SB)/8, $0x0c0d0e0f08090a0b
GLOBL flip<>(SB), RODATA|NOPTR, $16

// PADDD wants them at a multiple of 16, where the linker puts what is that large.
// FIPS 180-4, section 4.2.2: the first 32 bits of the fractional parts of the cube
// roots of the first 64 primes.
DATA constants<>+0(SB)/4, $0x428a2f98
DATA constants<>+4(SB)/4, $0x71374491
DATA constants<>+8(SB)/4, $0xb5c0fbcf
DATA constants<>+12(SB)/4, $0xe9b5dba5
DATA constants<>+16(SB)/4, $0x3956c25b
DATA constants<>+20(SB)/4, $0x59f111f1
DATA constants<>+24(SB)/4, $0x923f82a4
DATA constants<>+28(SB)/4, $0xab1c5ed5
DATA constants<>+32(SB)/4, $0xd807aa98
DATA constants<>+36(SB)/4, $0x12835b01
DATA constants<>+40(SB)/4, $0x243185be
DATA constants<>+44(SB)/4, $0x550c7dc3
DATA constants<>+48(SB)/4, $0x72be5d74
DATA constants<>+52(SB)/4, $0x80deb1fe
DATA constants<>+56(SB)/4, $0x9bdc06a7
DATA constants<>+60(SB)/4, $0xc19bf174
DATA constants<>+64(SB)/4, $0xe49b69c1
DATA constants<>+68(SB)/4, $0xefbe4786
DATA constants<>+72(SB)/4, $0x0fc19dc6
DATA constants<>+76(SB)/4, $0x240ca1cc
DATA constants<>+80(SB)/4, $0x2de92c6f
DATA constants<>+84(SB)/4, $0x4a7484aa
DATA constants<>+88(SB)/4, $0x5cb0a9dc
DATA constants<>+92(SB)/4, $0x76f988da
DATA constants<>+96(SB)/4, $0x983e5152
DATA constants<>+100(SB)/4, $0xa831c66d
DATA constants<>+104(SB)/4, $0xb00327c8
DATA constants<>+108(SB)/4, $0xbf597fc7
DATA constants<>+112(SB)/4, $0xc6e00bf3
DATA constants<>+116(SB)/4, $0xd5a79147
DATA constants<>+120(SB)/4, $0x06ca6351
DATA constants<>+124(SB)/4, $0x14292967
DATA constants<>+128(SB)/4, $0x27b70a85
DATA constants<>+132(SB)/4, $0x2e1b2138
DATA constants<>+136(SB)/4, $0x4d2c6dfc
DATA constants<>+140(SB)/4, $0x53380d13
DATA constants<>+144(SB)/4, $0x650a7354
DATA constants<>+148(SB)/4, $0x766a0abb
DATA constants<>+152(SB)/4, $0x81c2c92e
DATA constants<>+156(SB)/4, $0x92722c85
DATA constants<>+160(SB)/4, $0xa2bfe8a1
DATA constants<>+164(SB)/4, $0xa81a664b
DATA constants<>+168(SB)/4, $0xc24b8b70
DATA constants<>+172(SB)/4, $0xc76c51a3
DATA constants<>+176(SB)/4, $0xd192e819
DATA constants<>+180(SB)/4, $0xd6990624
DATA constants<>+184(SB)/4, $0xf40e3585
DATA constants<>+188(SB)/4, $0x106aa070
DATA constants<>+192(SB)/4, $0x19a4c116
DATA constants<>+196(SB)/4, $0x1e376c08
DATA constants<>+200(SB)/4, $0x2748774c
DATA constants<>+204(SB)/4, $0x34b0bcb5
DATA constants<>+208(SB)/4, $0x391c0cb3
DATA constants<>+212(SB)/4, $0x4ed8aa4a
DATA constants<>+216(SB)/4, $0x5b9cca4f
DATA constants<>+220(SB)/4, $0x682e6ff3
DATA constants<>+224(SB)/4, $0x748f82ee
DATA constants<>+228(SB)/4, $0x78a5636f
DATA constants<>+232(SB)/4, $0x84c87814
DATA constants<>+236(SB)/4, $0x8cc70208
DATA constants<>+240(SB)/4, $0x90befffa
DATA constants<>+244(SB)/4, $0xa4506ceb
DATA constants<>+248(SB)/4, $0xbef9a3f7
DATA constants<>+252(SB)/4, $0xc67178f2
GLOBL constants<>(SB), RODATA|NOPTR, $256
