// From a decoded picture to a payload.
#ifndef SLUICE_CONVERT_H
#define SLUICE_CONVERT_H

#include <libavutil/frame.h>

#include "codec.h"

// slc_convert_frame writes a whole payload: the picture scaled, turned upright and placed, black around it. It gives SLC_PICTURE,
// SLC_UNSUPPORTED or SLC_NO_MEMORY.
int slc_convert_frame(slc_scratch *scratch, const AVFrame *frame, const slc_target *target, int orientation);

// A buffer that grows and is kept.
typedef struct {
  uint8_t *bytes;
  size_t size;
} slc_buffer;

struct slc_scratch {
  slc_buffer planes;  // scaled, planar
  slc_buffer packed;  // the source with interleaved channels
  slc_buffer scaled;  // the same, scaled
  slc_buffer pixels;  // scaled and converted, before it is turned or cut
  slc_buffer upright; // the whole picture of a file
  slc_buffer chroma;  // the same as the file's encoder takes it
  struct slc_jpeg *jpeg;
};

// slc_reserve gives at least size bytes, 64-byte aligned; NULL without memory.
uint8_t *slc_reserve(slc_buffer *buffer, size_t size);

// slc_unpack writes the frame, of a format that is not planar YUV, as rows of B,G,R,A bytes ("ARGB" to libyuv). Alpha is not meaningful.
int slc_unpack(const AVFrame *frame, uint8_t *bgra, int stride);

#endif
