// Sound: libopus and libavcodec decode, libswresample changes the rate. Like the pictures' side, it keeps no state but what its callers hold.
#ifndef SLUICE_SOUND_H
#define SLUICE_SOUND_H

#include <stdint.h>

#include "convert.h"

// Numbers of media.Codec.
enum { SLC_OPUS = 9, SLC_PCMU, SLC_PCMA, SLC_G722, SLC_PCM_S16, SLC_PCM_F32 };

// How the samples of a span are had.
enum {
  SLC_SOUND_DECODE,   // from its packet
  SLC_SOUND_RECOVER,  // from the packet after it
  SLC_SOUND_CONCEAL,  // from what came before
};

typedef struct {
  int32_t op;
  // The packet, or the run of raw samples.
  const uint8_t *data;
  int32_t size;
  // Exactly so many samples are written.
  int32_t samples;
  int16_t *out;
  int64_t decode_ns;
} slc_sound_job;

typedef struct slc_sound slc_sound;

// slc_sound_open gives a decoder of sound to one channel at the rate wanted, in Hz; NULL without memory or without that decoder. source_rate and
// channels describe raw samples only.
slc_sound *slc_sound_open(int codec, int rate, int source_rate, int channels);
void slc_sound_close(slc_sound *sound);

// slc_sound_run takes one step. It gives SLC_NONE when the samples are written, else SLC_BROKEN or SLC_NO_MEMORY.
int slc_sound_run(slc_sound *sound, slc_scratch *scratch, slc_sound_job *job);

#endif
