import assert from "node:assert/strict";
import { test } from "node:test";

import { contentOf, forModels, imageContent, tensorProtocol } from "../build/content.js";

for (const [name, values, shape, datatype, want] of [
  ["floats", new Float32Array(63), [1, 63], undefined, "application/x-tensor;dtype=FP32;shape=1,63"],
  ["bytes", new Uint8Array(6), [2, 3], undefined, "application/x-tensor;dtype=UINT8;shape=2,3"],
  ["long integers", new BigInt64Array(2), [2], undefined, "application/x-tensor;dtype=INT64;shape=2"],
  ["bytes of a picture", new Uint8ClampedArray(4), [4], undefined, "application/x-tensor;dtype=UINT8;shape=4"],
  ["unsigned words", new BigUint64Array(1), [1], undefined, "application/x-tensor;dtype=UINT64;shape=1"],
  ["truths", new Uint8Array(3), [3], "BOOL", "application/x-tensor;dtype=BOOL;shape=3"],
  ["doubles, and none of them", new Float64Array(0), [0], undefined, "application/x-tensor;dtype=FP64;shape=0"],
  ["a view of anything", new DataView(new ArrayBuffer(4)), [1], undefined, /data type/],
  ["halves in a buffer", new ArrayBuffer(4), [2], "FP16", "application/x-tensor;dtype=FP16;shape=2"],
  ["a buffer of anything", new ArrayBuffer(4), [2], undefined, /data type/],
  ["too few", new Float32Array(62), [1, 63], undefined, /252 bytes; this one has 248/],
])
  test(`tensorProtocol: ${name}`, () => {
    if (typeof want === "string") assert.equal(tensorProtocol(values, shape, datatype), want);
    else assert.throws(() => tensorProtocol(values, shape, datatype), (error) => error.code === "BAD_TENSOR" && want.test(error.message));
  });

test("forModels narrows a protocol, also an empty one", () => {
  assert.equal(forModels("", []), "");
  assert.equal(forModels("", ["faces"]), ";model=faces");
  assert.equal(forModels("application/json", ["a", "b"]), "application/json;model=a,b");
});

test("contentOf copies what it is given", async () => {
  const values = new Float32Array([1, 2]).subarray(1);
  const bytes = contentOf(values);
  values[0] = 7;
  assert.deepEqual([...bytes], [0, 0, 0, 64]);
  assert.deepEqual([...(await contentOf(new Blob(["ab"]))())], [97, 98]);
  assert.deepEqual([...contentOf("é")], [0xc3, 0xa9]);
  assert.deepEqual([...contentOf(new Uint8Array([5]).buffer)], [5]);
});

test("imageContent takes what is encoded as it is, and draws the rest at once", async () => {
  assert.deepEqual([...imageContent(new Uint8Array([0xff, 0xd8]))], [0xff, 0xd8]);
  const drawn = [];
  globalThis.OffscreenCanvas = class {
    constructor(width, height) {
      this.size = [width, height];
    }
    getContext = () => ({ drawImage: (image) => drawn.push([image, ...this.size]) });
    convertToBlob = async ({ type }) => new Blob([type]);
  };
  const video = { videoWidth: 640, videoHeight: 360, width: 0, height: 0 };
  const content = imageContent(video);
  assert.deepEqual(drawn, [[video, 640, 360]]);
  assert.equal(new TextDecoder().decode(await content()), "image/jpeg");
  assert.throws(() => imageContent({ naturalWidth: 0, naturalHeight: 0 }), (error) => error.code === "BAD_IMAGE");
  delete globalThis.OffscreenCanvas;
});
