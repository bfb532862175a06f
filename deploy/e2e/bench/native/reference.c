// reference CODEC  The decoder to compare with: it reads access units (length as uint32, little endian, then the data) from standard input
// to its end, decodes each with libavcodec and converts the picture with libyuv. To standard output go, for each unit in turn, width and
// height (uint32, little endian) and width * height * 3 bytes of R, G, B. It shares no code with sluice-decoder. CODEC is vp8, h264, vp9 or av1.
#include <libavcodec/avcodec.h>
#include <libavutil/log.h>
#include <libyuv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fail(const char *what, int error) {
  fprintf(stderr, "reference: %s%s%s\n", what, error ? ": " : "", error ? av_err2str(error) : "");
  exit(1);
}

static AVCodecContext *begin(const char *codec) {
  const AVCodec *decoder = avcodec_find_decoder_by_name(strcmp(codec, "av1") ? codec : "libdav1d");
  AVCodecContext *c = decoder ? avcodec_alloc_context3(decoder) : NULL;
  if (!c) fail("libavcodec lacks the decoder", 0);
  c->thread_count = 1;
  c->flags |= AV_CODEC_FLAG_LOW_DELAY;
  int error = avcodec_open2(c, decoder, NULL);
  if (error < 0) fail("opening", error);
  return c;
}

static uint32_t little(const uint8_t *b) { return b[0] | b[1] << 8 | b[2] << 16 | (uint32_t)b[3] << 24; }

static void emit(const AVFrame *f) {
  if (f->format != AV_PIX_FMT_YUV420P || f->decode_error_flags || (f->flags & AV_FRAME_FLAG_CORRUPT)) fail("not a clean picture in 4:2:0", 0);
  uint32_t w = (uint32_t)f->width, h = (uint32_t)f->height;
  uint8_t head[8] = {(uint8_t)w, (uint8_t)(w >> 8), (uint8_t)(w >> 16), (uint8_t)(w >> 24), (uint8_t)h, (uint8_t)(h >> 8), (uint8_t)(h >> 16), (uint8_t)(h >> 24)};
  size_t size = (size_t)w * h * 3;
  uint8_t *rgb = malloc(size);
  if (!rgb) fail("no memory", 0);
  if (I420ToRAW(f->data[0], f->linesize[0], f->data[1], f->linesize[1], f->data[2], f->linesize[2], rgb, (int)w * 3, (int)w, (int)h)) fail("converting", 0);
  if (fwrite(head, sizeof head, 1, stdout) != 1 || fwrite(rgb, size, 1, stdout) != 1) fail("writing", 0);
  free(rgb);
}

int main(int argc, char **argv) {
  if (argc != 2) fail("argument: CODEC", 0);
  av_log_set_level(AV_LOG_ERROR);
  AVCodecContext *c = begin(argv[1]);
  AVFrame *frame = av_frame_alloc();
  AVPacket *packet = av_packet_alloc();
  if (!frame || !packet) fail("no memory", 0);
  uint8_t head[4];
  for (int64_t n = 0; fread(head, sizeof head, 1, stdin) == 1; n++) {
    int error = av_new_packet(packet, (int)little(head));
    if (error < 0) fail("no memory", error);
    if (packet->size && fread(packet->data, (size_t)packet->size, 1, stdin) != 1) fail("the input broke off", 0);
    packet->pts = n;
    if ((error = avcodec_send_packet(c, packet)) < 0) fail("decoding", error);
    av_packet_unref(packet);
    if ((error = avcodec_receive_frame(c, frame)) < 0) fail("a unit gave no picture", error);
    if (frame->pts != n) fail("a picture of another unit", 0);
    emit(frame);
    av_frame_unref(frame);
  }
  return fflush(stdout) ? 1 : 0;
}
