// What can be sent as a message, made into bytes and a data channel's protocol.

import { SluiceError } from "./errors.js";
import type { Content } from "./send.js";

const IMAGE_TYPE = "image/jpeg";
const QUALITY = 0.85;

/** An encoded picture (JPEG, PNG or WebP), or anything that a canvas can draw. */
export type ImageSource = Blob | BufferSource | CanvasImageSource;

/** The data types of tensors, in the words of the Open Inference Protocol. */
export type Datatype =
  | "BOOL" | "UINT8" | "UINT16" | "UINT32" | "UINT64" | "INT8" | "INT16" | "INT32" | "INT64" | "FP16" | "FP32" | "FP64";

const SIZES: Record<Datatype, number> = {
  BOOL: 1, UINT8: 1, UINT16: 2, UINT32: 4, UINT64: 8, INT8: 1, INT16: 2, INT32: 4, INT64: 8, FP16: 2, FP32: 4, FP64: 8,
};

const DATATYPES: Record<string, Datatype> = {
  Uint8Array: "UINT8", Uint8ClampedArray: "UINT8", Uint16Array: "UINT16", Uint32Array: "UINT32", BigUint64Array: "UINT64",
  Int8Array: "INT8", Int16Array: "INT16", Int32Array: "INT32", BigInt64Array: "INT64",
  Float16Array: "FP16", Float32Array: "FP32", Float64Array: "FP64",
};

/** A message as it is now: whoever gave it may write to it again. */
export function contentOf(data: Blob | BufferSource | string): Content {
  if (typeof data === "string") return new TextEncoder().encode(data);
  if (data instanceof Blob) return async () => new Uint8Array(await data.arrayBuffer());
  return new Uint8Array(ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data));
}

/** A picture as it is now, to be encoded as JPEG where it is not yet encoded. */
export function imageContent(image: ImageSource): Content {
  if (image instanceof Blob || image instanceof ArrayBuffer || ArrayBuffer.isView(image)) return contentOf(image);
  const drawn = draw(image);
  return async () => new Uint8Array(await (await drawn.convertToBlob({ type: IMAGE_TYPE, quality: QUALITY })).arrayBuffer());
}

function draw(image: CanvasImageSource): OffscreenCanvas {
  const { videoWidth, displayWidth, naturalWidth, width, videoHeight, displayHeight, naturalHeight, height } = image as unknown as Record<string, number>;
  const [across, down] = [videoWidth ?? displayWidth ?? naturalWidth ?? width, videoHeight ?? displayHeight ?? naturalHeight ?? height];
  if (!(across > 0 && down > 0)) throw new SluiceError("BAD_IMAGE", "The picture has no size yet: wait until it has loaded.");
  const canvas = new OffscreenCanvas(across, down);
  const context = canvas.getContext("2d");
  if (!context) throw new SluiceError("BAD_IMAGE", "The browser gives no canvas to draw the picture on.");
  context.drawImage(image, 0, 0);
  return canvas;
}

/** The protocol of a channel of tensors, with the models they are for. It throws where the data does not fill the shape. */
export function tensorProtocol(data: BufferSource, shape: readonly number[], datatype?: Datatype): string {
  const dtype = datatype ?? DATATYPES[data.constructor.name];
  if (!dtype) throw new SluiceError("BAD_TENSOR", `Say the data type of the tensor's ${data.constructor.name}, FP32 for instance.`);
  const want = SIZES[dtype] * shape.reduce((product, n) => product * n, 1);
  if (data.byteLength !== want)
    throw new SluiceError("BAD_TENSOR", `A tensor of ${dtype} with shape [${shape.join(", ")}] has ${want} bytes; this one has ${data.byteLength}.`);
  return `application/x-tensor;dtype=${dtype};shape=${shape.join(",")}`;
}

/** Adds the models that a channel's messages are for. */
export function forModels(protocol: string, models: readonly string[] = []): string {
  return models.length > 0 ? `${protocol};model=${models.join(",")}` : protocol;
}
