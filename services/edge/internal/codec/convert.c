#include "convert.h"
#include "jpeg.h"

#include <libyuv.h>
#include <libavutil/pixdesc.h>
#include <stdlib.h>
#include <string.h>

slc_scratch *slc_scratch_new(void) { return calloc(1, sizeof(slc_scratch)); }

void slc_scratch_free(slc_scratch *s) {
  if (!s) return;
  free(s->planes.bytes);
  free(s->packed.bytes);
  free(s->scaled.bytes);
  free(s->pixels.bytes);
  free(s->upright.bytes);
  free(s->chroma.bytes);
  slc_jpeg_free(s->jpeg);
  free(s);
}

uint8_t *slc_reserve(slc_buffer *b, size_t size) {
  if (size <= b->size) return b->bytes;
  free(b->bytes);
  b->size = (size + 63) & ~(size_t)63;
  b->bytes = aligned_alloc(64, b->size);
  if (!b->bytes) b->size = 0;
  return b->bytes;
}

// A picture of planes: luma, and chroma subsampled by shifts.
typedef struct {
  const uint8_t *y, *u, *v;
  int y_stride, uv_stride;
  int width, height;
  int shift_x, shift_y;
} yuv;

static int chroma_size(int size, int shift) { return (size + (1 << shift) - 1) >> shift; }

// yuv_of describes a frame of planar YUV of 8 bits; false for other formats. Grey has a chroma row of its own, used again and again.
static int yuv_of(const AVFrame *f, yuv *p) {
  const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(f->format);
  if (!d || (d->flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL | AV_PIX_FMT_FLAG_BITSTREAM)) || d->comp[0].depth != 8) return 0;
  if (f->format == AV_PIX_FMT_GRAY8) {
    static const uint8_t grey[16384] = {[0 ... 16383] = 128};
    if (f->width > 2 * (int)sizeof grey) return 0;
    *p = (yuv){f->data[0], grey, grey, f->linesize[0], 0, f->width, f->height, 1, 1};
    return 1;
  }
  if (!(d->flags & AV_PIX_FMT_FLAG_PLANAR) || d->nb_components < 3 || f->linesize[1] != f->linesize[2]) return 0;
  *p = (yuv){f->data[0], f->data[1], f->data[2], f->linesize[0], f->linesize[1], f->width, f->height, d->log2_chroma_w, d->log2_chroma_h};
  return 1;
}

// scale_yuv scales to 4:2:0 where the source is that, else to 4:4:4, which loses nothing and which any subsampling can be scaled to.
static int scale_yuv(slc_scratch *scratch, yuv *p, int width, int height) {
  int native = p->shift_x == p->shift_y && p->shift_x <= 1;
  if (width == p->width && height == p->height && native) return SLC_PICTURE;
  int shift = native ? p->shift_x : 0;
  int uv_width = chroma_size(width, shift), uv_height = chroma_size(height, shift);
  int grey = p->uv_stride == 0;
  size_t luma = (size_t)width * height, chroma = grey ? 0 : (size_t)uv_width * uv_height;
  uint8_t *y = slc_reserve(&scratch->planes, luma + 2 * chroma);
  if (!y) return SLC_NO_MEMORY;
  ScalePlane(p->y, p->y_stride, p->width, p->height, y, width, width, height, kFilterBox);
  if (!grey) {
    int source_width = chroma_size(p->width, p->shift_x), source_height = chroma_size(p->height, p->shift_y);
    ScalePlane(p->u, p->uv_stride, source_width, source_height, y + luma, uv_width, uv_width, uv_height, kFilterBox);
    ScalePlane(p->v, p->uv_stride, source_width, source_height, y + luma + chroma, uv_width, uv_width, uv_height, kFilterBox);
    p->u = y + luma;
    p->v = y + luma + chroma;
    p->uv_stride = uv_width;
  }
  p->y = y;
  p->y_stride = p->width = width;
  p->height = height;
  p->shift_x = p->shift_y = shift;
  return SLC_PICTURE;
}

// matrix gives libyuv's constants for the frame's colours; mirrored ones put red first. What is not said is BT.601, as browsers mean it.
static const struct YuvConstants *matrix(const AVFrame *f, int mirrored) {
  int full = f->color_range == AVCOL_RANGE_JPEG || f->format == AV_PIX_FMT_YUVJ420P || f->format == AV_PIX_FMT_YUVJ422P ||
             f->format == AV_PIX_FMT_YUVJ444P || f->format == AV_PIX_FMT_YUVJ440P || f->format == AV_PIX_FMT_YUVJ411P ||
             (f->format == AV_PIX_FMT_GRAY8 && f->color_range != AVCOL_RANGE_MPEG);
  switch (f->colorspace) {
    case AVCOL_SPC_BT709:
      if (full) return mirrored ? &kYvuF709Constants : &kYuvF709Constants;
      return mirrored ? &kYvuH709Constants : &kYuvH709Constants;
    case AVCOL_SPC_BT2020_NCL:
      if (full) return mirrored ? &kYvuV2020Constants : &kYuvV2020Constants;
      return mirrored ? &kYvu2020Constants : &kYuv2020Constants;
    default:
      if (full) return mirrored ? &kYvuJPEGConstants : &kYuvJPEGConstants;
      return mirrored ? &kYvuI601Constants : &kYuvI601Constants;
  }
}

// Rows of pixels, three bytes each.
typedef struct {
  uint8_t *bytes;
  int stride, width, height;
} pixels;

static int convert_yuv(slc_scratch *scratch, const AVFrame *frame, yuv p, const pixels *out, int bgr) {
  int status = scale_yuv(scratch, &p, out->width, out->height);
  if (status != SLC_PICTURE) return status;
  // libyuv's RGB24 is B,G,R in memory. R,G,B comes of the mirrored matrix with the chroma planes exchanged.
  const struct YuvConstants *m = matrix(frame, !bgr);
  const uint8_t *first = bgr ? p.u : p.v, *second = bgr ? p.v : p.u;
  int (*convert)(const uint8_t *, int, const uint8_t *, int, const uint8_t *, int, uint8_t *, int, const struct YuvConstants *, int, int) =
      p.shift_x ? I420ToRGB24Matrix : I444ToRGB24Matrix;
  if (convert(p.y, p.y_stride, first, p.uv_stride, second, p.uv_stride, out->bytes, out->stride, m, out->width, out->height))
    return SLC_UNSUPPORTED;
  return SLC_PICTURE;
}

static int convert_packed(slc_scratch *scratch, const AVFrame *f, const pixels *out, int bgr) {
  int stride = f->width * 4;
  uint8_t *bgra = slc_reserve(&scratch->packed, (size_t)stride * f->height);
  if (!bgra) return SLC_NO_MEMORY;
  if (slc_unpack(f, bgra, stride)) return SLC_UNSUPPORTED;
  if (out->width != f->width || out->height != f->height) {
    int scaled_stride = out->width * 4;
    uint8_t *scaled = slc_reserve(&scratch->scaled, (size_t)scaled_stride * out->height);
    if (!scaled) return SLC_NO_MEMORY;
    if (ARGBScale(bgra, stride, f->width, f->height, scaled, scaled_stride, out->width, out->height, kFilterBox)) return SLC_UNSUPPORTED;
    bgra = scaled;
    stride = scaled_stride;
  }
  int (*convert)(const uint8_t *, int, uint8_t *, int, int, int) = bgr ? ARGBToRGB24 : ARGBToRAW;
  return convert(bgra, stride, out->bytes, out->stride, out->width, out->height) ? SLC_UNSUPPORTED : SLC_PICTURE;
}

// blacken clears what the picture does not cover.
static void blacken(const slc_target *t) {
  size_t stride = (size_t)t->width * 3;
  int top = t->y, bottom = t->y + t->scaled_height, left = t->x, right = t->x + t->scaled_width;
  if (top > 0) memset(t->payload, 0, stride * top);
  if (bottom < t->height) memset(t->payload + stride * bottom, 0, stride * (t->height - bottom));
  if (left <= 0 && right >= t->width) return;
  for (int row = top < 0 ? 0 : top; row < bottom && row < t->height; row++) {
    uint8_t *line = t->payload + stride * row;
    if (left > 0) memset(line, 0, (size_t)left * 3);
    if (right < t->width) memset(line + (size_t)right * 3, 0, (size_t)(t->width - right) * 3);
  }
}

// place copies the stored picture to its place in the payload, turned upright and cut at the borders. EXIF's orientations: 2 to 4 are
// mirrored, turned by 180°, mirrored and turned; 5 to 8 exchange the axes besides.
static void place(const pixels *in, const slc_target *t, int orientation) {
  int step_x = 3, step_y = in->stride;  // in the stored picture, for a step right and down in the upright one
  const uint8_t *origin = in->bytes;    // the stored pixel that is upright at the top left
  int last_x = (in->width - 1) * 3, last_y = (in->height - 1) * in->stride;
  switch (orientation) {
    case 2: origin += last_x; step_x = -3; break;
    case 3: origin += last_y + last_x; step_x = -3; step_y = -in->stride; break;
    case 4: origin += last_y; step_y = -in->stride; break;
    case 5: step_x = in->stride; step_y = 3; break;
    case 6: origin += last_y; step_x = -in->stride; step_y = 3; break;
    case 7: origin += last_y + last_x; step_x = -in->stride; step_y = -3; break;
    case 8: origin += last_x; step_x = in->stride; step_y = -3; break;
  }
  int from_x = t->x < 0 ? 0 : t->x, from_y = t->y < 0 ? 0 : t->y;
  int to_x = t->x + t->scaled_width, to_y = t->y + t->scaled_height;
  if (to_x > t->width) to_x = t->width;
  if (to_y > t->height) to_y = t->height;
  for (int y = from_y; y < to_y; y++) {
    const uint8_t *source = origin + (ptrdiff_t)(y - t->y) * step_y + (ptrdiff_t)(from_x - t->x) * step_x;
    uint8_t *out = t->payload + ((size_t)y * t->width + from_x) * 3;
    if (step_x == 3) {
      memcpy(out, source, (size_t)(to_x - from_x) * 3);
      continue;
    }
    for (int x = from_x; x < to_x; x++, source += step_x, out += 3) memcpy(out, source, 3);
  }
}

int slc_convert_frame(slc_scratch *scratch, const AVFrame *f, const slc_target *t, int orientation) {
  int turned = orientation >= 5;
  pixels out = {.width = turned ? t->scaled_height : t->scaled_width, .height = turned ? t->scaled_width : t->scaled_height};
  int direct = orientation == 1 && t->x >= 0 && t->y >= 0 && t->x + t->scaled_width <= t->width && t->y + t->scaled_height <= t->height;
  if (direct) {
    out.stride = t->width * 3;
    out.bytes = t->payload + (size_t)t->y * out.stride + (size_t)t->x * 3;
  } else {
    out.stride = out.width * 3;
    out.bytes = slc_reserve(&scratch->pixels, (size_t)out.stride * out.height);
    if (!out.bytes) return SLC_NO_MEMORY;
  }
  yuv p;
  int status = yuv_of(f, &p) ? convert_yuv(scratch, f, p, &out, t->bgr) : convert_packed(scratch, f, &out, t->bgr);
  if (status != SLC_PICTURE) return status;
  blacken(t);
  if (!direct) place(&out, t, orientation);
  return SLC_PICTURE;
}
