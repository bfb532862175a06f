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

/** The protocol of a channel of tensors. It throws where the data does not fill the shape. */
export function tensorProtocol(data: BufferSource, shape: readonly number[], datatype = datatypeOf(data)): string {
  if (!datatype) throw new SluiceError("BAD_TENSOR", `Say the data type of the tensor's ${data.constructor.name}, FP32 for instance.`);
  const bits = Number(/\d+$/.exec(datatype)?.[0] ?? 8); // BOOL takes a byte
  const want = (bits / 8) * shape.reduce((product, n) => product * n, 1);
  if (data.byteLength !== want)
    throw new SluiceError("BAD_TENSOR", `A tensor of ${datatype} with shape [${shape.join(", ")}] has ${want} bytes; this one has ${data.byteLength}.`);
  return `application/x-tensor;dtype=${datatype};shape=${shape.join(",")}`;
}

/** The data type of a typed array: Float32Array holds FP32, BigInt64Array INT64. */
function datatypeOf(data: BufferSource): Datatype | undefined {
  const [, kind, bits] = /^(?:Big)?(Int|Uint|Float)(\d+)(?:Clamped)?Array$/.exec(data.constructor.name) ?? [];
  return kind ? (`${kind === "Float" ? "FP" : kind.toUpperCase()}${bits}` as Datatype) : undefined;
}

/** Adds the models that a channel's messages are for. */
export function forModels(protocol: string, models: readonly string[] = []): string {
  return models.length > 0 ? `${protocol};model=${models.join(",")}` : protocol;
}
