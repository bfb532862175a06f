// encoder CODEC WIDTH HEIGHT RATE KBIT  A live encoder: for every command on standard input it encodes the next frame of a moving scene and
// writes it to standard output. Commands are bytes: 'f' for a frame, 'k' for a key frame. A frame is its length (uint32, little endian), one
// byte that is 1 for a key frame, and the data. CODEC is vp8, h264, vp9 or av1. The settings are those of a browser: no lag, no reordering,
// constant rate, key frames only when asked for.
#include <libavcodec/avcodec.h>
#include <libavutil/dict.h>
#include <libavutil/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scene.h"

static void fail(const char *what, int error) {
  fprintf(stderr, "encoder: %s%s%s\n", what, error ? ": " : "", error ? av_err2str(error) : "");
  exit(1);
}

typedef struct {
  const char *codec, *encoder, *options;
} settings;

static const settings known[] = {
    {"vp8", "libvpx", "deadline=realtime:cpu-used=8:lag-in-frames=0:auto-alt-ref=0"},
    {"h264", "libx264", "preset=veryfast:tune=zerolatency:profile=baseline:forced-idr=1:x264-params=slices=1\\:sliced-threads=0\\:scenecut=0"},
    {"vp9", "libvpx-vp9", "deadline=realtime:cpu-used=8:lag-in-frames=0:auto-alt-ref=0"},
    {"av1", "libaom-av1", "usage=realtime:cpu-used=8:lag-in-frames=0"},
};

static AVCodecContext *begin(const char *codec, int width, int height, int rate, int kbit) {
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    if (strcmp(known[i].codec, codec)) continue;
    const AVCodec *encoder = avcodec_find_encoder_by_name(known[i].encoder);
    AVCodecContext *c = encoder ? avcodec_alloc_context3(encoder) : NULL;
    if (!c) fail("libavcodec lacks the encoder", 0);
    c->width = width;
    c->height = height;
    c->pix_fmt = AV_PIX_FMT_YUV420P;
    c->time_base = (AVRational){1, rate};
    c->framerate = (AVRational){rate, 1};
    c->bit_rate = c->rc_max_rate = c->rc_min_rate = (int64_t)kbit * 1000;
    c->rc_buffer_size = kbit * 1000;
    c->gop_size = 1 << 20;
    c->max_b_frames = 0;
    c->thread_count = 1;
    AVDictionary *options = NULL;
    int error = av_dict_parse_string(&options, known[i].options, "=", ":", 0);
    if (error < 0 || (error = avcodec_open2(c, encoder, &options)) < 0) fail("opening", error);
    if (av_dict_count(options)) fail("the encoder does not know all its options", 0);
    return c;
  }
  fail("unknown codec: vp8, h264, vp9 and av1 are known", 0);
  return NULL;
}

static void write_packet(const AVPacket *p) {
  uint8_t head[5] = {(uint8_t)p->size, (uint8_t)(p->size >> 8), (uint8_t)(p->size >> 16), (uint8_t)(p->size >> 24), (p->flags & AV_PKT_FLAG_KEY) != 0};
  if (fwrite(head, sizeof head, 1, stdout) != 1 || fwrite(p->data, (size_t)p->size, 1, stdout) != 1 || fflush(stdout)) fail("writing", 0);
}

int main(int argc, char **argv) {
  if (argc != 6) fail("arguments: CODEC WIDTH HEIGHT RATE KBIT", 0);
  av_log_set_level(AV_LOG_ERROR);
  AVCodecContext *c = begin(argv[1], atoi(argv[2]), atoi(argv[3]), atoi(argv[4]), atoi(argv[5]));
  static scene s;
  scene_begin(&s);
  AVFrame *frame = av_frame_alloc();
  AVPacket *packet = av_packet_alloc();
  if (!frame || !packet) fail("no memory", 0);
  int command;
  for (int n = 0; (command = getchar()) != EOF; n++) {
    av_frame_unref(frame); // the encoder may still hold the last one's planes
    frame->format = c->pix_fmt;
    frame->width = c->width;
    frame->height = c->height;
    int error = av_frame_get_buffer(frame, 0);
    if (error < 0) fail("no memory", error);
    scene_draw(&s, n, c->width, c->height, frame->data, frame->linesize);
    frame->pts = n;
    frame->pict_type = command == 'k' ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE;
    if ((error = avcodec_send_frame(c, frame)) < 0) fail("encoding", error);
    if ((error = avcodec_receive_packet(c, packet)) < 0) fail("a frame gave no packet at once", error);
    if (packet->pts != n) fail("a packet of another frame", 0);
    write_packet(packet);
    av_packet_unref(packet);
  }
  return 0;
}
