#include "sound.h"

#include <libavcodec/avcodec.h>
#include <libavutil/opt.h>
#include <libswresample/swresample.h>
#include <math.h>
#include <opus/opus.h>
#include <stdlib.h>
#include <string.h>

enum {
  // Opus measures time in 2.5 ms, no packet is longer than 120 ms, and its decoder hides at most so much at once.
  OPUS_STEPS_A_SECOND = 400,
  OPUS_LONGEST_STEPS = 48,
  // What the resampler holds ready after each step, so that the fractions of samples by which steps differ never leave one short.
  SLACK = 2,
  // The length of the resampler's filter, in samples of the lower of both rates.
  FILTER_SIZE = 64,
};

struct slc_sound {
  int codec, channels;
  int native_rate, rate;
  OpusDecoder *opus;
  AVCodecContext *context;  // of G.722
  AVPacket *packet;
  AVFrame *frame;
  SwrContext *resampler;  // NULL when native_rate is the rate wanted
  // Samples that came out and were not asked for yet.
  int16_t *held;
  size_t held_count, held_room;
};

// native_rate_of gives the rate at which a codec's samples come. Opus is asked for the rate wanted where it has it.
static int native_rate_of(int codec, int rate, int source_rate) {
  switch (codec) {
    case SLC_OPUS:
      return rate == 8000 || rate == 12000 || rate == 16000 || rate == 24000 ? rate : 48000;
    case SLC_PCMU:
    case SLC_PCMA:
      return 8000;
    case SLC_G722:
      return 16000;
    default:
      return source_rate;
  }
}

static int open_g722(slc_sound *s) {
  const AVCodec *decoder = avcodec_find_decoder_by_name("g722");
  s->context = decoder ? avcodec_alloc_context3(decoder) : NULL;
  s->packet = av_packet_alloc();
  s->frame = av_frame_alloc();
  if (!s->context || !s->packet || !s->frame) return -1;
  s->context->thread_count = 1;
  s->context->sample_rate = s->native_rate;
  return avcodec_open2(s->context, decoder, NULL);
}

// hold gives room for count more held samples.
static int16_t *hold(slc_sound *s, size_t count) {
  if (s->held_count + count > s->held_room) {
    size_t room = s->held_count + count;
    int16_t *held = realloc(s->held, room * sizeof *held);
    if (!held) return NULL;
    s->held = held;
    s->held_room = room;
  }
  return s->held + s->held_count;
}

// resample takes count samples in.
static int resample(slc_sound *s, const float *in, int count) {
  int room = swr_get_out_samples(s->resampler, count);
  int16_t *out = room < 0 ? NULL : hold(s, room);
  if (!out) return SLC_NO_MEMORY;
  const uint8_t *in_planes[] = {(const uint8_t *)in};
  uint8_t *out_planes[] = {(uint8_t *)out};
  int made = swr_convert(s->resampler, out_planes, room, in_planes, count);
  if (made < 0) return SLC_NO_MEMORY;
  s->held_count += made;
  return SLC_NONE;
}

// open_resampler makes the resampler and fills it with silence: from then on it gives for every span as many samples as the span has, but
// for fractions, and what it gives lags by half its filter's length.
static int open_resampler(slc_sound *s) {
  AVChannelLayout mono = AV_CHANNEL_LAYOUT_MONO;
  if (swr_alloc_set_opts2(&s->resampler, &mono, AV_SAMPLE_FMT_S16, s->rate, &mono, AV_SAMPLE_FMT_FLT, s->native_rate, 0, NULL) < 0) return -1;
  // What the lower of both rates cannot hold is 60 dB down from there on; what is below 0.8 of that passes whole.
  if (av_opt_set_int(s->resampler, "filter_size", FILTER_SIZE, 0) < 0 || av_opt_set_double(s->resampler, "cutoff", 0.92, 0) < 0 ||
      av_opt_set_int(s->resampler, "exact_rational", 1, 0) < 0 || swr_init(s->resampler) < 0)
    return -1;
  int lower = s->rate < s->native_rate ? s->rate : s->native_rate;
  int count = (int)((int64_t)2 * FILTER_SIZE * s->native_rate / lower);
  float *silence = calloc(count, sizeof *silence);
  int status = silence ? resample(s, silence, count) : SLC_NO_MEMORY;
  free(silence);
  if (status != SLC_NONE || !hold(s, SLACK)) return -1;
  s->held_count = SLACK;
  memset(s->held, 0, SLACK * sizeof *s->held);
  return 0;
}

slc_sound *slc_sound_open(int codec, int rate, int source_rate, int channels) {
  slc_sound *s = calloc(1, sizeof *s);
  if (!s) return NULL;
  s->codec = codec;
  s->channels = channels;
  s->rate = rate;
  s->native_rate = native_rate_of(codec, rate, source_rate);
  int failed = 0;
  if (codec == SLC_OPUS) {
    s->opus = opus_decoder_create(s->native_rate, 1, &failed);
  } else if (codec == SLC_G722) {
    failed = open_g722(s);
  }
  if (!failed && s->native_rate != rate) failed = open_resampler(s);
  if (!failed) return s;
  slc_sound_close(s);
  return NULL;
}

void slc_sound_close(slc_sound *s) {
  if (!s) return;
  opus_decoder_destroy(s->opus);
  avcodec_free_context(&s->context);
  av_packet_free(&s->packet);
  av_frame_free(&s->frame);
  swr_free(&s->resampler);
  free(s->held);
  free(s);
}

static int status_of_opus(int error) { return error == OPUS_ALLOC_FAIL ? SLC_NO_MEMORY : SLC_BROKEN; }

// The G.711 laws (ITU-T G.711), to 16 bits.
static int16_t from_mu_law(uint8_t v) {
  v = ~v;
  int magnitude = ((((v & 0x0f) << 3) + 0x84) << (v >> 4 & 7)) - 0x84;
  return v & 0x80 ? -magnitude : magnitude;
}

static int16_t from_a_law(uint8_t v) {
  v ^= 0x55;
  int segment = v >> 4 & 7, magnitude = ((v & 0x0f) << 4) + 8;
  if (segment > 0) magnitude = (magnitude + 0x100) << (segment - 1);
  return v & 0x80 ? magnitude : -magnitude;
}

// sample_of reads a raw sample, from -1 to 1. What is no number is silence.
static float sample_of(int codec, const uint8_t *in) {
  if (codec == SLC_PCM_S16) {
    int16_t v;
    memcpy(&v, in, sizeof v);
    return v / 32768.0f;
  }
  float v;
  memcpy(&v, in, sizeof v);
  return isfinite(v) ? fminf(fmaxf(v, -1), 1) : 0;
}

// mix averages the channels of raw samples.
static void mix(const slc_sound *s, const uint8_t *in, float *out, int count) {
  int width = s->codec == SLC_PCM_S16 ? 2 : 4;
  for (int i = 0; i < count; i++) {
    float sum = 0;
    for (int c = 0; c < s->channels; c++, in += width) sum += sample_of(s->codec, in);
    out[i] = sum / s->channels;
  }
}

static void from_int16(const int16_t *in, float *out, int count) {
  for (int i = 0; i < count; i++) out[i] = in[i] / 32768.0f;
}

static void to_int16(const float *in, int16_t *out, int count) {
  for (int i = 0; i < count; i++) out[i] = lrintf(fminf(fmaxf(in[i] * 32768.0f, -32768), 32767));
}

// span gives the length of the step in samples of the native rate, what is held over beyond the slack counted in.
static int64_t span(const slc_sound *s, const slc_sound_job *job) {
  int64_t wanted = job->samples;
  if (s->resampler) wanted += SLACK - (int64_t)s->held_count;
  if (wanted < 0) wanted = 0;
  return (wanted * s->native_rate + s->rate / 2) / s->rate;
}

// opus_span gives the step's length as Opus can fill it.
static int opus_span(const slc_sound *s, const slc_sound_job *job) {
  int step = s->native_rate / OPUS_STEPS_A_SECOND;
  int64_t steps = (span(s, job) + step / 2) / step;
  return step * (steps < 1 ? 1 : (int)steps);
}

// opus_conceal continues the sound for count samples, which are whole steps.
static int opus_conceal(slc_sound *s, int16_t *out, int count) {
  int longest = s->native_rate / OPUS_STEPS_A_SECOND * OPUS_LONGEST_STEPS;
  while (count > 0) {
    int made = opus_decode(s->opus, NULL, 0, out, count < longest ? count : longest, 0);
    if (made <= 0) return made < 0 ? made : OPUS_INTERNAL_ERROR;
    out += made;
    count -= made;
  }
  return OPUS_OK;
}

// run_opus writes the native samples of the step and counts them.
static int run_opus(slc_sound *s, slc_scratch *scratch, const slc_sound_job *job, int *count) {
  int longest = s->native_rate / OPUS_STEPS_A_SECOND * OPUS_LONGEST_STEPS;
  int length = job->op == SLC_SOUND_DECODE ? longest : opus_span(s, job);
  int16_t *samples = (int16_t *)slc_reserve(&scratch->packed, length * sizeof *samples);
  float *native = (float *)slc_reserve(&scratch->planes, length * sizeof *native);
  if (!samples || !native) return SLC_NO_MEMORY;
  int made = OPUS_INVALID_PACKET;
  if (job->op == SLC_SOUND_DECODE) {
    // No bytes would mean concealment.
    if (job->size > 0) made = opus_decode(s->opus, job->data, job->size, samples, longest, 0);
  } else {
    int tail = job->op == SLC_SOUND_CONCEAL ? 0 : length < longest ? length : longest;
    made = opus_conceal(s, samples, length - tail);
    if (made == OPUS_OK && tail > 0) made = job->size > 0 ? opus_decode(s->opus, job->data, job->size, samples + length - tail, tail, 1) : OPUS_INVALID_PACKET;
    if (made >= 0) made = length;
  }
  if (made < 0) return status_of_opus(made);
  from_int16(samples, native, made);
  *count = made;
  return SLC_NONE;
}

// run_g722 decodes a packet of G.722.
static int run_g722(slc_sound *s, slc_scratch *scratch, const slc_sound_job *job, int *count) {
  s->packet->data = (uint8_t *)job->data;
  s->packet->size = job->size;
  int error = avcodec_send_packet(s->context, s->packet);
  if (error == 0) error = avcodec_receive_frame(s->context, s->frame);
  if (error < 0) {
    avcodec_flush_buffers(s->context);
    return error == AVERROR(ENOMEM) ? SLC_NO_MEMORY : SLC_BROKEN;
  }
  if (s->frame->format != AV_SAMPLE_FMT_S16) return SLC_BROKEN;
  float *native = (float *)slc_reserve(&scratch->planes, s->frame->nb_samples * sizeof *native);
  if (!native) return SLC_NO_MEMORY;
  from_int16((const int16_t *)s->frame->data[0], native, s->frame->nb_samples);
  *count = s->frame->nb_samples;
  return SLC_NONE;
}

// run_plain unpacks what has no state: the laws of G.711, and raw samples. A packet is whole samples of all channels.
static int run_plain(slc_sound *s, slc_scratch *scratch, const slc_sound_job *job, int *count) {
  int law = s->codec == SLC_PCMU || s->codec == SLC_PCMA;
  int width = law ? 1 : s->channels * (s->codec == SLC_PCM_S16 ? 2 : 4);
  if (job->size == 0 || job->size % width) return SLC_BROKEN;
  *count = job->size / width;
  float *native = (float *)slc_reserve(&scratch->planes, (*count + 1) * sizeof *native);
  if (!native) return SLC_NO_MEMORY;
  if (!law) {
    mix(s, job->data, native, *count);
    return SLC_NONE;
  }
  for (int i = 0; i < *count; i++) native[i] = (s->codec == SLC_PCMU ? from_mu_law(job->data[i]) : from_a_law(job->data[i])) / 32768.0f;
  return SLC_NONE;
}

// run_silence fills the step with zeros.
static int run_silence(slc_sound *s, slc_scratch *scratch, const slc_sound_job *job, int *count) {
  *count = span(s, job);
  float *native = (float *)slc_reserve(&scratch->planes, (*count + 1) * sizeof *native);
  if (!native) return SLC_NO_MEMORY;
  memset(native, 0, *count * sizeof *native);
  return SLC_NONE;
}

// deliver writes the samples asked for out of those held, with zeros where they are too few, and keeps the rest, but no more than a
// millisecond of it: a source that sends more than its clock says must not fall behind it.
static void deliver(slc_sound *s, const slc_sound_job *job) {
  size_t wanted = job->samples, given = s->held_count < wanted ? s->held_count : wanted;
  memcpy(job->out, s->held, given * sizeof *s->held);
  memset(job->out + given, 0, (wanted - given) * sizeof *s->held);
  size_t rest = s->held_count - given, most = s->resampler ? s->rate / 1000 : 0;
  size_t kept = rest > most ? (s->resampler ? SLACK : 0) : rest;
  memmove(s->held, s->held + s->held_count - kept, kept * sizeof *s->held);
  s->held_count = kept;
}

int slc_sound_run(slc_sound *s, slc_scratch *scratch, slc_sound_job *job) {
  int64_t begin = slc_now_ns();
  int count = 0, status;
  if (s->opus) {
    status = run_opus(s, scratch, job, &count);
  } else if (job->op != SLC_SOUND_DECODE) {
    status = run_silence(s, scratch, job, &count);
  } else if (s->context) {
    status = run_g722(s, scratch, job, &count);
  } else {
    status = run_plain(s, scratch, job, &count);
  }
  if (status == SLC_NONE) {
    const float *native = (const float *)scratch->planes.bytes;
    if (s->resampler) {
      status = resample(s, native, count);
    } else {
      int16_t *out = hold(s, count);
      if (out) {
        to_int16(native, out, count);
        s->held_count += count;
      } else {
        status = SLC_NO_MEMORY;
      }
    }
  }
  if (status == SLC_NONE) deliver(s, job);
  job->decode_ns = slc_now_ns() - begin;
  return status;
}
