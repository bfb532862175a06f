// Whether all of a picture was decoded. libavcodec's H.265 decoder does not miss slices that are not there: what they would have covered keeps
// what an older picture left in the buffer. So marks are set in a buffer before it is decoded to, one in each place that a coding tree block
// can begin at, and none may be left afterwards.
#ifndef SLUICE_COVER_H
#define SLUICE_COVER_H

#include <libavcodec/avcodec.h>

// slc_cover_get_buffer is an AVCodecContext's get_buffer2 that sets the marks.
int slc_cover_get_buffer(AVCodecContext *context, AVFrame *frame, int flags);

// slc_covered tells whether no mark is left in what is seen of the frame.
int slc_covered(const AVFrame *frame);

#endif
