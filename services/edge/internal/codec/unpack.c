// The formats of images that are not planar YUV.
#include <libyuv.h>
#include <stdint.h>

#include "convert.h"

static void put(uint8_t *out, uint8_t r, uint8_t g, uint8_t b) {
  out[0] = b;
  out[1] = g;
  out[2] = r;
  out[3] = 255;
}

// row unpacks the formats that are too rare for vector code. Sixteen-bit channels are big endian and lose their lower byte.
static int row(const AVFrame *f, int y, uint8_t *out) {
  const uint8_t *in = f->data[0] + (ptrdiff_t)y * f->linesize[0];
  const uint8_t *in1 = f->data[1] ? f->data[1] + (ptrdiff_t)y * f->linesize[1] : NULL;
  const uint8_t *in2 = f->data[2] ? f->data[2] + (ptrdiff_t)y * f->linesize[2] : NULL;
  const uint32_t *palette = (const uint32_t *)f->data[1];
  for (int x = 0; x < f->width; x++, out += 4) {
    switch (f->format) {
      case AV_PIX_FMT_GBRP:
      case AV_PIX_FMT_GBRAP:
        put(out, in2[x], in[x], in1[x]);
        break;
      case AV_PIX_FMT_PAL8: {
        uint32_t c = palette[in[x]];
        put(out, c >> 16, c >> 8, c);
        break;
      }
      case AV_PIX_FMT_MONOBLACK: {
        uint8_t v = in[x >> 3] >> (7 - (x & 7)) & 1 ? 255 : 0;
        put(out, v, v, v);
        break;
      }
      case AV_PIX_FMT_YA8:
        put(out, in[2 * x], in[2 * x], in[2 * x]);
        break;
      case AV_PIX_FMT_GRAY16BE:
        put(out, in[2 * x], in[2 * x], in[2 * x]);
        break;
      case AV_PIX_FMT_YA16BE:
        put(out, in[4 * x], in[4 * x], in[4 * x]);
        break;
      case AV_PIX_FMT_RGB48BE:
        put(out, in[6 * x], in[6 * x + 2], in[6 * x + 4]);
        break;
      case AV_PIX_FMT_RGBA64BE:
        put(out, in[8 * x], in[8 * x + 2], in[8 * x + 4]);
        break;
      default:
        return -1;
    }
  }
  return 0;
}

int slc_unpack(const AVFrame *f, uint8_t *bgra, int stride) {
  // Names differ: libavutil's say the order of bytes in memory, libyuv's that of a little-endian word.
  switch (f->format) {
    case AV_PIX_FMT_RGB24:
      return RAWToARGB(f->data[0], f->linesize[0], bgra, stride, f->width, f->height);
    case AV_PIX_FMT_BGR24:
      return RGB24ToARGB(f->data[0], f->linesize[0], bgra, stride, f->width, f->height);
    case AV_PIX_FMT_RGBA:
      return ABGRToARGB(f->data[0], f->linesize[0], bgra, stride, f->width, f->height);
    case AV_PIX_FMT_ARGB:
      return BGRAToARGB(f->data[0], f->linesize[0], bgra, stride, f->width, f->height);
    case AV_PIX_FMT_BGRA:
    case AV_PIX_FMT_BGR0:
      return ARGBCopy(f->data[0], f->linesize[0], bgra, stride, f->width, f->height);
  }
  for (int y = 0; y < f->height; y++)
    if (row(f, y, bgra + (size_t)y * stride)) return -1;
  return 0;
}
