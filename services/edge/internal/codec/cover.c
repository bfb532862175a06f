#include "cover.h"

#include <string.h>

enum {
  STEP = 16,   // the smallest coding tree block; larger ones begin at multiples of it too
  BLOCK = 8,   // the smallest coding block, of which coded sizes are multiples
  INSIDE = 4,  // out of reach of the neighbours' deblocking filter, which changes three pixels
};

// A mark is two rows of four pixels that no picture has but by a chance of 2^-64.
static const uint8_t marks[2][4] = {{0x9d, 0x3b, 0xe1, 0x47}, {0x0f, 0xc2, 0x56, 0x8a}};

static uint8_t *place(uint8_t *luma, int stride, int x, int y) { return luma + (ptrdiff_t)(y + INSIDE) * stride + x + INSIDE; }

int slc_cover_get_buffer(AVCodecContext *context, AVFrame *frame, int flags) {
  int error = avcodec_default_get_buffer2(context, frame, flags);
  if (error < 0) return error;
  for (int y = 0; y + BLOCK <= frame->height; y += STEP) {
    for (int x = 0; x + BLOCK <= frame->width; x += STEP) {
      uint8_t *mark = place(frame->data[0], frame->linesize[0], x, y);
      memcpy(mark, marks[0], sizeof marks[0]);
      memcpy(mark + frame->linesize[0], marks[1], sizeof marks[1]);
    }
  }
  return 0;
}

int slc_covered(const AVFrame *frame) {
  // libavcodec has moved the pointer to what is seen; the marks count from the buffer's beginning.
  uint8_t *luma = frame->buf[0]->data;
  int stride = frame->linesize[0];
  ptrdiff_t moved = frame->data[0] - luma;
  int right = (int)(moved % stride) + frame->width, bottom = (int)(moved / stride) + frame->height;
  for (int y = 0; y < bottom; y += STEP) {
    for (int x = 0; x < right; x += STEP) {
      const uint8_t *mark = place(luma, stride, x, y);
      if (memcmp(mark, marks[0], sizeof marks[0]) == 0 && memcmp(mark + stride, marks[1], sizeof marks[1]) == 0) return 0;
    }
  }
  return 1;
}
