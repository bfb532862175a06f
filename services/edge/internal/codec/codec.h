// The decoder's C side: libavcodec decodes, libyuv scales and converts. It keeps no state but what its callers hold, is single-threaded,
// and is meant to run inside the sandbox only.
#ifndef SLUICE_CODEC_H
#define SLUICE_CODEC_H

#include <stddef.h>
#include <stdint.h>

enum { SLC_MAX_TARGETS = 16 };

// Numbers of media.Codec.
enum { SLC_VP8 = 1, SLC_H264, SLC_JPEG, SLC_PNG, SLC_WEBP, SLC_VP9, SLC_AV1, SLC_H265 };

// What a step came to.
enum {
  SLC_NONE,         // nothing more comes out
  SLC_PICTURE,      // a picture came out; it waits in the stream for slc_convert
  SLC_BROKEN,       // the bytes cannot be decoded
  SLC_UNSUPPORTED,  // a pixel format that is not converted
  SLC_NO_MEMORY,
};

// A form in which a picture is wanted. All sizes are in pixels.
typedef struct {
  int32_t width, height;                    // of the payload
  int32_t x, y, scaled_width, scaled_height;  // where the upright picture lies in it (media.Placement)
  int32_t bgr;
  int32_t jpeg;      // the payload is a file of the scaled size
  uint8_t *payload;  // width * height * 3 bytes, or the file
  int32_t room;      // for the file, in bytes
  int32_t size;      // of what was written, in bytes
} slc_target;

typedef struct {
  // The unit, followed by at least AV_INPUT_BUFFER_PADDING_SIZE zeros.
  const uint8_t *data;
  int32_t size;
  int64_t tag;
  int32_t key;          // decoding can start here
  int32_t orientation;  // EXIF, 1 to 8, of the picture that is converted next

  // The targets of a picture of expected size with tag; used by slc_decode at once, by slc_convert for the waiting picture.
  int32_t expected_width, expected_height;  // of the upright picture
  int32_t target_count;
  slc_target targets[SLC_MAX_TARGETS];

  // What came out: slc_decode and slc_next set these.
  int64_t picture_tag;
  int32_t picture_width, picture_height;  // as stored
  uint32_t done;                          // bit i: target i was written
  int32_t converted;                      // the picture needs no slc_convert
  int64_t decode_ns, convert_ns;
} slc_job;

typedef struct slc_stream slc_stream;
typedef struct slc_scratch slc_scratch;

// slc_prepare sets the process up: libavcodec's log goes nowhere but to where it is listened to, and malloc has one arena.
void slc_prepare(void);

// slc_now_ns gives the time by a clock that never goes back.
int64_t slc_now_ns(void);

// slc_scratch_new gives buffers that all streams share; NULL without memory.
slc_scratch *slc_scratch_new(void);
void slc_scratch_free(slc_scratch *scratch);

// slc_open gives a decoder; NULL without memory or without that decoder. max_pixels bounds pictures roughly; the caller checks exactly.
slc_stream *slc_open(int codec, int64_t max_pixels);
void slc_close(slc_stream *stream);

// slc_decode feeds a unit and takes the first picture that comes out, of VP9's spatial layers the last. If that is the unit's own and of the expected size, it is converted
// to the targets at once, so that the usual unit takes one call.
int slc_decode(slc_stream *stream, slc_scratch *scratch, slc_job *job);

// slc_next takes a further picture.
int slc_next(slc_stream *stream, slc_job *job);

// slc_convert converts the waiting picture to the targets.
int slc_convert(slc_stream *stream, slc_scratch *scratch, slc_job *job);

// slc_flush forgets references and pictures that wait.
void slc_flush(slc_stream *stream);

#endif
