// Pictures as files, for models that take those.
#ifndef SLUICE_JPEG_H
#define SLUICE_JPEG_H

#include "convert.h"

typedef struct slc_jpeg slc_jpeg;

// slc_jpeg_frame writes the picture, scaled and turned upright, as a JPEG file: 4:2:0, full range, BT.601, as JFIF has it. It sets the target's
// size, 0 when there is no room for the file, and gives SLC_PICTURE, SLC_UNSUPPORTED or SLC_NO_MEMORY.
int slc_jpeg_frame(slc_scratch *scratch, const AVFrame *frame, slc_target *target, int orientation);

// slc_jpeg_try encodes a picture of nothing, so that whatever the encoder sets up for good is there.
int slc_jpeg_try(slc_scratch *scratch);

void slc_jpeg_free(slc_jpeg *jpeg);

#endif
