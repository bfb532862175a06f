#include "jpeg.h"

#include <libavcodec/avcodec.h>
#include <libavutil/opt.h>
#include <libyuv.h>
#include <stdlib.h>
#include <string.h>

// The quantiser scale, from 2 to 31. It gives files of about the size and likeness that libjpeg gives at quality 85.
enum { QUANTISER = 4, ALIGNMENT = 64 };

// An encoder for pictures of one size. Models take few sizes, so it is made anew when another one comes.
struct slc_jpeg {
  AVCodecContext *context;
  AVFrame *frame;
  AVPacket *packet;
};

void slc_jpeg_free(slc_jpeg *j) {
  if (!j) return;
  avcodec_free_context(&j->context);
  av_frame_free(&j->frame);
  av_packet_free(&j->packet);
  free(j);
}

static slc_jpeg *jpeg_new(int width, int height) {
  const AVCodec *encoder = avcodec_find_encoder_by_name("mjpeg");
  slc_jpeg *j = encoder ? calloc(1, sizeof *j) : NULL;
  if (!j) return NULL;
  j->context = avcodec_alloc_context3(encoder);
  j->frame = av_frame_alloc();
  j->packet = av_packet_alloc();
  if (j->context && j->frame && j->packet) {
    AVCodecContext *c = j->context;
    c->width = width;
    c->height = height;
    c->pix_fmt = AV_PIX_FMT_YUVJ420P;
    c->color_range = AVCOL_RANGE_JPEG;
    c->time_base = (AVRational){1, 30};
    c->sample_aspect_ratio = (AVRational){1, 1};  // a file without it has no JFIF header
    c->thread_count = 1;
    c->flags |= AV_CODEC_FLAG_QSCALE | AV_CODEC_FLAG_BITEXACT;  // without a comment that names the encoder
    c->global_quality = QUANTISER * FF_QP2LAMBDA;
    // The standard's own tables: the best ones for each picture would take a second pass.
    av_opt_set(c->priv_data, "huffman", "default", 0);
    if (avcodec_open2(c, encoder, NULL) == 0) return j;
  }
  slc_jpeg_free(j);
  return NULL;
}

static void leave(void *opaque, uint8_t *data) {
  (void)opaque;
  (void)data;
}

// set_planes makes the frame one of memory that is used for every picture: the encoder may hold the last one's, but does not read it again.
static int set_planes(AVFrame *f, slc_buffer *memory, int width, int height) {
  int stride = (width + ALIGNMENT - 1) & ~(ALIGNMENT - 1), half = stride / 2, rows = (height + 1) / 2;
  size_t size = (size_t)stride * height + 2 * (size_t)half * rows + ALIGNMENT;
  uint8_t *bytes = slc_reserve(memory, size);
  if (!bytes) return -1;
  f->buf[0] = av_buffer_create(bytes, size, leave, NULL, 0);
  if (!f->buf[0]) return -1;
  f->data[0] = bytes;
  f->data[1] = bytes + (size_t)stride * height;
  f->data[2] = f->data[1] + (size_t)half * rows;
  f->linesize[0] = stride;
  f->linesize[1] = f->linesize[2] = half;
  f->width = width;
  f->height = height;
  f->format = AV_PIX_FMT_YUVJ420P;
  f->color_range = AVCOL_RANGE_JPEG;
  f->quality = QUANTISER * FF_QP2LAMBDA;
  return 0;
}

// encode makes a file of a picture of B,G,R bytes.
static int encode(slc_scratch *scratch, const uint8_t *bgr, slc_target *t, int width, int height) {
  slc_jpeg *j = scratch->jpeg;
  if (!j || j->context->width != width || j->context->height != height) {
    slc_jpeg_free(j);
    j = scratch->jpeg = jpeg_new(width, height);
    if (!j) return SLC_NO_MEMORY;
  }
  AVFrame *f = j->frame;
  if (set_planes(f, &scratch->chroma, width, height)) return SLC_NO_MEMORY;
  int error = RGB24ToJ420(bgr, width * 3, f->data[0], f->linesize[0], f->data[1], f->linesize[1], f->data[2], f->linesize[2], width, height);
  if (error == 0) error = avcodec_send_frame(j->context, f);
  av_frame_unref(f);
  if (error == 0) error = avcodec_receive_packet(j->context, j->packet);
  if (error < 0) {
    slc_jpeg_free(j);
    scratch->jpeg = NULL;
    return error == AVERROR(ENOMEM) ? SLC_NO_MEMORY : SLC_UNSUPPORTED;
  }
  t->size = j->packet->size <= t->room ? j->packet->size : 0;
  memcpy(t->payload, j->packet->data, t->size);
  av_packet_unref(j->packet);
  return SLC_PICTURE;
}

int slc_jpeg_frame(slc_scratch *scratch, const AVFrame *frame, slc_target *t, int orientation) {
  slc_target upright = {
    .width = t->scaled_width, .height = t->scaled_height, .scaled_width = t->scaled_width, .scaled_height = t->scaled_height, .bgr = 1,
    .payload = slc_reserve(&scratch->upright, (size_t)t->scaled_width * t->scaled_height * 3),
  };
  if (!upright.payload) return SLC_NO_MEMORY;
  int status = slc_convert_frame(scratch, frame, &upright, orientation);
  return status == SLC_PICTURE ? encode(scratch, upright.payload, t, t->scaled_width, t->scaled_height) : status;
}

int slc_jpeg_try(slc_scratch *scratch) {
  static const uint8_t nothing[16 * 16 * 3];
  uint8_t file[2048];
  slc_target t = {.payload = file, .room = sizeof file};
  return encode(scratch, nothing, &t, 16, 16) == SLC_PICTURE && t.size > 0 ? 0 : -1;
}
