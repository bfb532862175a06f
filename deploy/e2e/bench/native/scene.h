// A moving picture for encoders: a texture that scrolls, blocks that cross it, and a little noise, so that every frame differs from the
// last one everywhere and a picture put together from the wrong parts never equals the right one.
#ifndef SLUICE_BENCH_SCENE_H
#define SLUICE_BENCH_SCENE_H

#include <stdint.h>

enum { SCENE_SIDE = 256, SCENE_BLOCKS = 5 };

typedef struct {
  uint8_t texture[SCENE_SIDE][SCENE_SIDE];
} scene;

static uint32_t scene_hash(uint32_t x) {
  x ^= x >> 16;
  x *= 0x7feb352dU;
  x ^= x >> 15;
  x *= 0x846ca68bU;
  return x ^ x >> 16;
}

// scene_begin makes the texture: noise on a coarse grid, drawn out smoothly.
static void scene_begin(scene *s) {
  const int cell = 16, cells = SCENE_SIDE / cell;
  for (int y = 0; y < SCENE_SIDE; y++)
    for (int x = 0; x < SCENE_SIDE; x++) {
      int cx = x / cell, cy = y / cell, fx = x % cell, fy = y % cell;
      int corner[4];
      for (int i = 0; i < 4; i++)
        corner[i] = scene_hash((uint32_t)((cy + i / 2) % cells * cells + (cx + i % 2) % cells)) % 160 + 48;
      int top = corner[0] * (cell - fx) + corner[1] * fx, bottom = corner[2] * (cell - fx) + corner[3] * fx;
      s->texture[y][x] = (uint8_t)((top * (cell - fy) + bottom * fy) / (cell * cell));
    }
}

// scene_place gives where a block is at a frame: it bounces between the borders.
static int scene_place(int frame, int speed, int start, int room) {
  if (room <= 0) return 0;
  int at = (start + frame * speed) % (2 * room);
  return at < room ? at : 2 * room - at;
}

// scene_draw draws frame n into three planes, chroma at half the size.
static void scene_draw(const scene *s, int n, int width, int height, uint8_t *const planes[], const int strides[]) {
  for (int y = 0; y < height; y++)
    for (int x = 0; x < width; x++) {
      int noise = scene_hash((uint32_t)((n * height + y) * width + x)) & 3;
      planes[0][y * strides[0] + x] = (uint8_t)(s->texture[(y + n) % SCENE_SIDE][(x + 2 * n) % SCENE_SIDE] + noise);
    }
  for (int y = 0; y < height / 2; y++)
    for (int x = 0; x < width / 2; x++) {
      planes[1][y * strides[1] + x] = (uint8_t)(128 + (s->texture[y % SCENE_SIDE][(x + n) % SCENE_SIDE] - 128) / 4);
      planes[2][y * strides[2] + x] = (uint8_t)(128 + (s->texture[(x + n) % SCENE_SIDE][y % SCENE_SIDE] - 128) / 4);
    }
  int side = height / 6 & ~1;
  for (int b = 0; b < SCENE_BLOCKS; b++) {
    int left = scene_place(n, 2 + b, 37 * b, width - side) & ~1, top = scene_place(n, 5 - b, 53 * b, height - side) & ~1;
    for (int y = 0; y < side; y++)
      for (int x = 0; x < side; x++) {
        planes[0][(top + y) * strides[0] + left + x] = (uint8_t)(40 + 36 * b + ((x ^ y) & 15));
        planes[1][(top + y) / 2 * strides[1] + (left + x) / 2] = (uint8_t)(64 + 30 * b);
        planes[2][(top + y) / 2 * strides[2] + (left + x) / 2] = (uint8_t)(200 - 30 * b);
      }
  }
}

#endif
