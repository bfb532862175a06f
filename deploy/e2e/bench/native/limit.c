// limit CODEC FILE COUNTS INDEX PHASE  The least that the work can cost: one stream decoded by libavcodec at 30 frames a second, every third picture scaled to 640x360 and
// converted to RGB by libyuv, and nothing else. FILE holds access units (length as uint32, little endian, then the data), which are played in a loop. COUNTS is a file of
// pairs of uint64, decoded and converted; the pair at INDEX is kept up to date. PHASE, in microseconds, says when in a frame's time this stream's frames come. CODEC is vp8 or h264.
#include <fcntl.h>
#include <libavcodec/avcodec.h>
#include <libavutil/log.h>
#include <libyuv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { RATE = 30, EVERY = 3, WIDTH = 640, HEIGHT = 360 };

static void fail(const char *what, int error) {
  fprintf(stderr, "limit: %s%s%s\n", what, error ? ": " : "", error ? av_err2str(error) : "");
  exit(1);
}

static AVCodecContext *begin(const char *codec) {
  const AVCodec *decoder = avcodec_find_decoder_by_name(codec);
  AVCodecContext *c = decoder ? avcodec_alloc_context3(decoder) : NULL;
  if (!c) fail("libavcodec lacks the decoder", 0);
  c->thread_count = 1;
  c->flags |= AV_CODEC_FLAG_LOW_DELAY;
  int error = avcodec_open2(c, decoder, NULL);
  if (error < 0) fail("opening", error);
  return c;
}

// map gives a file's bytes.
static uint8_t *map(const char *path, int writable, size_t *size) {
  int fd = open(path, writable ? O_RDWR : O_RDONLY);
  struct stat s;
  if (fd < 0 || fstat(fd, &s) || !s.st_size) fail("a file cannot be read", 0);
  *size = (size_t)s.st_size;
  uint8_t *bytes = mmap(NULL, *size, PROT_READ | (writable ? PROT_WRITE : 0), writable ? MAP_SHARED : MAP_PRIVATE, fd, 0);
  if (bytes == MAP_FAILED) fail("a file cannot be mapped", 0);
  close(fd);
  return bytes;
}

static uint32_t little(const uint8_t *b) { return b[0] | b[1] << 8 | b[2] << 16 | (uint32_t)b[3] << 24; }

static void convert(const AVFrame *f) {
  static uint8_t scaled[WIDTH * HEIGHT * 3 / 2], rgb[WIDTH * HEIGHT * 3];
  uint8_t *y = scaled, *u = y + WIDTH * HEIGHT, *v = u + WIDTH * HEIGHT / 4;
  if (f->format != AV_PIX_FMT_YUV420P) fail("not 4:2:0", 0);
  I420Scale(f->data[0], f->linesize[0], f->data[1], f->linesize[1], f->data[2], f->linesize[2], f->width, f->height, y, WIDTH, u, WIDTH / 2, v,
            WIDTH / 2, WIDTH, HEIGHT, kFilterBox);
  I420ToRAW(y, WIDTH, u, WIDTH / 2, v, WIDTH / 2, rgb, WIDTH * 3, WIDTH, HEIGHT);
}

int main(int argc, char **argv) {
  if (argc != 6) fail("arguments: CODEC FILE COUNTS INDEX PHASE", 0);
  av_log_set_level(AV_LOG_ERROR);
  AVCodecContext *c = begin(argv[1]);
  size_t size, counts_size, index = (size_t)atoi(argv[4]);
  uint8_t *film = map(argv[2], 0, &size);
  volatile uint64_t *counts = (volatile uint64_t *)map(argv[3], 1, &counts_size);
  if ((index + 1) * 2 * sizeof *counts > counts_size) fail("no place for the counts", 0);
  AVFrame *frame = av_frame_alloc();
  AVPacket *packet = av_packet_alloc();
  if (!frame || !packet) fail("no memory", 0);
  struct timespec start;
  clock_gettime(CLOCK_MONOTONIC, &start);
  int64_t first = start.tv_sec * 1000000000LL + start.tv_nsec + atoi(argv[5]) * 1000LL;
  size_t at = 0;
  for (int64_t n = 0;; n++) {
    int64_t due = first + n * 1000000000LL / RATE;
    struct timespec when = {due / 1000000000LL, due % 1000000000LL};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL)) continue;
    if (at + 4 > size) at = 0;
    uint32_t length = little(film + at);
    int error = av_new_packet(packet, (int)length);
    if (error < 0 || at + 4 + length > size) fail("the film breaks off", error);
    memcpy(packet->data, film + at + 4, length);
    at += 4 + length;
    if ((error = avcodec_send_packet(c, packet)) < 0 || (error = avcodec_receive_frame(c, frame)) < 0) fail("decoding", error);
    av_packet_unref(packet);
    counts[2 * index]++;
    if (n % EVERY == 0) {
      convert(frame);
      counts[2 * index + 1]++;
    }
    av_frame_unref(frame);
  }
}
