#include <malloc.h>
#include <libavcodec/avcodec.h>
#include <libavutil/buffer.h>
#include <libavutil/log.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "codec.h"
#include "convert.h"
#include "cover.h"
#include "jpeg.h"

struct slc_stream {
  AVCodecContext *context;
  AVPacket *packet;
  AVFrame *frame;
  AVFrame *upper;  // VP9: the next spatial layer's, NULL otherwise
  int gap;         // H.265: the unit refers to a picture that is not there
};

// listen takes libavcodec's log, whose words go nowhere. One of them is heard: where a picture of H.265 refers to one that is missing, the
// decoder puts a grey one there, and says so here only.
static void listen(void *sender, int level, const char *format, va_list arguments) {
  (void)level;
  (void)arguments;
  static const char missing[] = "Could not find ref with POC";
  if (!sender || *(const AVClass **)sender != avcodec_get_class() || strncmp(format, missing, sizeof missing - 1)) return;
  slc_stream *s = ((AVCodecContext *)sender)->opaque;
  if (s) s->gap = 1;
}

void slc_prepare(void) {
  av_log_set_callback(listen);
  // Work moves between threads but is never done by two at once: one arena is enough, and one for each thread would only hold memory.
  mallopt(M_ARENA_MAX, 1);
}

int64_t slc_now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static const AVCodec *find(int codec) {
  // By name: the default for an id may be a wrapper of another library, or hardware.
  switch (codec) {
    case SLC_VP8:
      return avcodec_find_decoder_by_name("vp8");
    case SLC_H264:
      return avcodec_find_decoder_by_name("h264");
    case SLC_H265:
      return avcodec_find_decoder_by_name("hevc");
    case SLC_JPEG:
      return avcodec_find_decoder_by_name("mjpeg");
    case SLC_PNG:
      return avcodec_find_decoder_by_name("png");
    case SLC_WEBP:
      return avcodec_find_decoder_by_name("webp");
    case SLC_VP9:
      return avcodec_find_decoder_by_name("vp9");
    case SLC_AV1:
      // libavcodec's own decoder of AV1 only drives hardware.
      return avcodec_find_decoder_by_name("libdav1d");
  }
  return NULL;
}

static void configure(AVCodecContext *c, int64_t max_pixels) {
  // Frame threads would hold pictures back; sessions, not threads, are what fills the cores. dav1d starts none for a count of one, and with
  // low delay gives each picture at once.
  c->thread_count = 1;
  c->flags |= AV_CODEC_FLAG_LOW_DELAY;
  // A picture with invented parts must not look like a whole one. Concealment cannot be switched off without losing the account of what
  // is missing, so only its cheapest form is on, and take() refuses what it made.
  c->err_recognition = AV_EF_CRCCHECK | AV_EF_BITSTREAM | AV_EF_BUFFER | AV_EF_EXPLODE;
  c->error_concealment = FF_EC_FAVOR_INTER;
  // libavcodec compares with widths rounded up to its alignment, and no side is longer than 16384.
  c->max_pixels = max_pixels + 64 * 16384;
}

slc_stream *slc_open(int codec, int64_t max_pixels) {
  const AVCodec *decoder = find(codec);
  slc_stream *s = decoder ? calloc(1, sizeof *s) : NULL;
  if (!s) return NULL;
  s->context = avcodec_alloc_context3(decoder);
  s->packet = av_packet_alloc();
  s->frame = av_frame_alloc();
  if (codec == SLC_VP9) s->upper = av_frame_alloc();
  if (s->context && s->packet && s->frame && (s->upper || codec != SLC_VP9)) {
    configure(s->context, max_pixels);
    s->context->opaque = s;
    if (codec == SLC_H265) s->context->get_buffer2 = slc_cover_get_buffer;
    if (avcodec_open2(s->context, decoder, NULL) == 0) return s;
  }
  slc_close(s);
  return NULL;
}

void slc_close(slc_stream *s) {
  if (!s) return;
  av_frame_free(&s->upper);
  av_frame_free(&s->frame);
  av_packet_free(&s->packet);
  avcodec_free_context(&s->context);
  free(s);
}

void slc_flush(slc_stream *s) {
  av_frame_unref(s->frame);
  if (s->upper) av_frame_unref(s->upper);
  avcodec_flush_buffers(s->context);
}

static int status_of(int error) {
  switch (error) {
    case AVERROR(ENOMEM):
      return SLC_NO_MEMORY;
    case AVERROR_PATCHWELCOME:
    case AVERROR(ENOSYS):
      return SLC_UNSUPPORTED;
  }
  return SLC_BROKEN;
}

static void leave(void *opaque, uint8_t *data) {
  (void)opaque;
  (void)data;
}

// send hands the unit to libavcodec without a copy; libavcodec would copy what is not counted.
static int send(slc_stream *s, const slc_job *job) {
  uint8_t *data = (uint8_t *)job->data;
  s->packet->buf = av_buffer_create(data, job->size + AV_INPUT_BUFFER_PADDING_SIZE, leave, NULL, AV_BUFFER_FLAG_READONLY);
  if (!s->packet->buf) return AVERROR(ENOMEM);
  s->packet->data = data;
  s->packet->size = job->size;
  s->packet->pts = job->tag;
  // Without the flag libavcodec takes a PNG for the difference to the one before.
  if (job->key) s->packet->flags |= AV_PKT_FLAG_KEY;
  int error = avcodec_send_packet(s->context, s->packet);
  av_packet_unref(s->packet);
  return error;
}

// climb replaces the picture that was received by those of the spatial layers above it: all of a VP9 superframe's frames are shown, and
// the last is the picture. dav1d does so by itself.
static int climb(slc_stream *s) {
  while (s->upper) {
    int error = avcodec_receive_frame(s->context, s->upper);
    if (error == AVERROR(EAGAIN) || error == AVERROR_EOF) return 0;
    if (error < 0) return error;
    AVFrame *lower = s->frame;
    s->frame = s->upper;
    s->upper = lower;
  }
  return 0;
}

// take receives the next picture into the stream's frame.
static int take(slc_stream *s, slc_job *job) {
  job->converted = 0;
  job->done = 0;
  job->convert_ns = 0;
  int error = avcodec_receive_frame(s->context, s->frame);
  if (error == AVERROR(EAGAIN) || error == AVERROR_EOF) return SLC_NONE;
  if (error == 0) error = climb(s);
  if (error < 0) return status_of(error);
  if (s->frame->decode_error_flags || (s->frame->flags & AV_FRAME_FLAG_CORRUPT)) return SLC_BROKEN;
  if (s->context->codec_id == AV_CODEC_ID_HEVC && !slc_covered(s->frame)) return SLC_BROKEN;
  job->picture_tag = s->frame->pts;
  job->picture_width = s->frame->width;
  job->picture_height = s->frame->height;
  return SLC_PICTURE;
}

// expected tells whether the picture is the unit's own and of the size for which the targets are placed.
static int expected(const slc_job *job) {
  int turned = job->orientation >= 5;
  int32_t width = turned ? job->picture_height : job->picture_width, height = turned ? job->picture_width : job->picture_height;
  return job->picture_tag == job->tag && width == job->expected_width && height == job->expected_height;
}

int slc_decode(slc_stream *s, slc_scratch *scratch, slc_job *job) {
  int64_t begin = slc_now_ns();
  av_frame_unref(s->frame);
  s->gap = 0;
  int error = send(s, job);
  int status = error < 0 ? status_of(error) : take(s, job);
  if (s->gap) status = SLC_BROKEN;
  job->decode_ns = slc_now_ns() - begin;
  if (status != SLC_PICTURE || !expected(job)) return status;
  return slc_convert(s, scratch, job);
}

int slc_next(slc_stream *s, slc_job *job) {
  int64_t begin = slc_now_ns();
  int status = take(s, job);
  job->decode_ns += slc_now_ns() - begin;
  return status;
}

int slc_convert(slc_stream *s, slc_scratch *scratch, slc_job *job) {
  int64_t begin = slc_now_ns();
  int status = SLC_PICTURE;
  job->done = 0;
  for (int i = 0; i < job->target_count && status == SLC_PICTURE; i++) {
    slc_target *t = &job->targets[i];
    if (t->jpeg) {
      status = slc_jpeg_frame(scratch, s->frame, t, job->orientation);
    } else {
      status = slc_convert_frame(scratch, s->frame, t, job->orientation);
      t->size = t->width * t->height * 3;
    }
    if (status == SLC_PICTURE && t->size > 0) job->done |= 1u << i;
  }
  job->converted = 1;
  job->convert_ns = slc_now_ns() - begin;
  return status;
}
