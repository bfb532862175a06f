// Makes vp9-svc.ivf and vp9-resized.ivf, which ffmpeg's options cannot ask libvpx for:
//   cc -o vp9 vp9.c -lvpx
//   ffmpeg -f lavfi -i testsrc2=size=320x180:rate=30 -frames:v 12 -pix_fmt yuv420p -f rawvideo - | ./vp9 svc     >vp9-svc.ivf
//   ffmpeg -f lavfi -i testsrc2=size=320x180:rate=30 -frames:v 12 -pix_fmt yuv420p -f rawvideo - | ./vp9 resized >vp9-resized.ivf
// The first has three spatial layers, as superframes; the second changes its size every third picture without a key frame.
#include <stdio.h>
#include <string.h>
#include <vpx/vp8cx.h>
#include <vpx/vpx_encoder.h>

enum { WIDTH = 320, HEIGHT = 180, LAYERS = 3, FRAMES = 12 };

static void put(unsigned long long v, int bytes) {
  for (; bytes > 0; bytes--, v >>= 8) putchar(v & 255);
}

static void layered(vpx_codec_enc_cfg_t *cfg) {
  cfg->ss_number_layers = LAYERS;
  cfg->rc_target_bitrate = 0;
  for (int i = 0; i < LAYERS; i++) {
    cfg->ss_target_bitrate[i] = cfg->layer_target_bitrate[i] = 100 << i;
    cfg->rc_target_bitrate += 100 << i;
  }
}

static int layers(vpx_codec_ctx_t *encoder) {
  vpx_svc_extra_cfg_t extra;
  memset(&extra, 0, sizeof extra);
  for (int i = 0; i < LAYERS; i++) {
    extra.min_quantizers[i] = 20;
    extra.max_quantizers[i] = 56;
    extra.scaling_factor_num[i] = 1;
    extra.scaling_factor_den[i] = 1 << (LAYERS - 1 - i);
    extra.speed_per_layer[i] = 7;
  }
  return vpx_codec_control(encoder, VP9E_SET_SVC, 1) || vpx_codec_control(encoder, VP9E_SET_SVC_PARAMETERS, &extra);
}

// picture reads a picture and crops it to the size of image.
static int picture(vpx_image_t *image) {
  static unsigned char row[WIDTH];
  for (int plane = 0; plane < 3; plane++) {
    int shift = plane > 0;
    for (unsigned y = 0; y < HEIGHT >> shift; y++) {
      if (fread(row, 1, WIDTH >> shift, stdin) != WIDTH >> shift) return 0;
      if (y < (image->d_h + shift) >> shift) memcpy(image->planes[plane] + y * image->stride[plane], row, (image->d_w + shift) >> shift);
    }
  }
  return 1;
}

int main(int count, char **arguments) {
  static const unsigned sizes[][2] = {{320, 180}, {240, 134}, {213, 119}, {320, 180}};
  int svc = count > 1 && !strcmp(arguments[1], "svc");
  vpx_codec_enc_cfg_t cfg;
  vpx_codec_ctx_t encoder;
  vpx_codec_enc_config_default(vpx_codec_vp9_cx(), &cfg, 0);
  cfg.g_w = WIDTH;
  cfg.g_h = HEIGHT;
  cfg.g_timebase.num = 1;
  cfg.g_timebase.den = 30;
  cfg.rc_target_bitrate = 300;
  cfg.rc_end_usage = VPX_CBR;
  cfg.g_lag_in_frames = 0;
  cfg.g_error_resilient = svc;
  cfg.kf_mode = VPX_KF_DISABLED;
  cfg.rc_min_quantizer = 20;
  cfg.rc_max_quantizer = 56;
  if (svc) layered(&cfg);
  if (vpx_codec_enc_init(&encoder, vpx_codec_vp9_cx(), &cfg, 0) || vpx_codec_control(&encoder, VP8E_SET_CPUUSED, 7) || (svc && layers(&encoder))) {
    fprintf(stderr, "%s\n", vpx_codec_error_detail(&encoder));
    return 1;
  }
  fputs("DKIF", stdout);
  put(32ULL << 16, 4);
  fputs("VP90", stdout);
  put(WIDTH | HEIGHT << 16, 4);
  put(30, 4);
  put(1, 4);
  put(FRAMES, 8);
  for (int n = 0; n < FRAMES; n++) {
    if (!svc) {
      cfg.g_w = sizes[n / 3][0];
      cfg.g_h = sizes[n / 3][1];
      if (vpx_codec_enc_config_set(&encoder, &cfg)) return 1;
    }
    vpx_image_t *image = vpx_img_alloc(NULL, VPX_IMG_FMT_I420, cfg.g_w, cfg.g_h, 1);
    if (!picture(image) || vpx_codec_encode(&encoder, image, n, 1, 0, VPX_DL_REALTIME)) return 1;
    vpx_img_free(image);
    vpx_codec_iter_t at = NULL;
    for (const vpx_codec_cx_pkt_t *p; (p = vpx_codec_get_cx_data(&encoder, &at));) {
      put(p->data.frame.sz, 4);
      put(n, 8);
      fwrite(p->data.frame.buf, 1, p->data.frame.sz, stdout);
    }
  }
  return 0;
}
