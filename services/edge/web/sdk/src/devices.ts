// Cameras, microphones and screens, with what can be in the way of them named for people.

import { SluiceError } from "./errors.js";

/** What a page can ask for. */
export type Device = "camera" | "microphone" | "screen";

/** Opens a camera. It throws a {@link SluiceError} that says what is in the way: see {@link DeviceErrorCode}. @param wish what a constraint `video` can say */
export async function openCamera(wish: MediaTrackConstraints = {}): Promise<MediaStreamTrack> {
  const usual = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
  return first(await open("camera", (devices) => devices.getUserMedia({ video: { ...usual, ...wish } })));
}

/** Opens a microphone; as {@link openCamera}. */
export async function openMicrophone(wish: MediaTrackConstraints = {}): Promise<MediaStreamTrack> {
  return first(await open("microphone", (devices) => devices.getUserMedia({ audio: wish })));
}

/** Has the visitor choose a screen, window or tab; as {@link openCamera}. It can only be asked for in answer to a click. */
export async function openScreen(wish: MediaTrackConstraints = {}): Promise<MediaStreamTrack> {
  return first(await open("screen", (devices) => devices.getDisplayMedia({ video: wish })));
}

function first(stream: MediaStream): MediaStreamTrack {
  return stream.getTracks()[0];
}

async function open(device: Device, ask: (devices: MediaDevices) => Promise<MediaStream>): Promise<MediaStream> {
  const devices = globalThis.navigator?.mediaDevices;
  if (!devices) {
    const { origin } = globalThis.location ?? { origin: "This page" };
    throw new SluiceError("INSECURE_CONTEXT", `A browser gives a ${device} to pages of https:// and localhost only; ${origin} is neither.`);
  }
  try {
    return await ask(devices);
  } catch (error) {
    throw deviceError(error, device);
  }
}

/** Why a device cannot be had, in words for people. @param cause what getUserMedia or getDisplayMedia threw */
export function deviceError(cause: unknown, device: Device): SluiceError {
  const { name = "", message = "" } = (cause ?? {}) as DOMException;
  const error = (code: string, text: string) => new SluiceError(code, text, { cause });
  switch (name) {
    case "NotAllowedError":
      if (/system/i.test(message)) return error("BLOCKED_BY_SYSTEM", `The operating system does not let this browser use the ${device}: allow it in its privacy settings.`);
      if (forbidden(device)) return error("BLOCKED_BY_POLICY", `This page may not use the ${device}: its Permissions-Policy, or the allow attribute of its frame, must name it.`);
      if (device === "screen") return error("PERMISSION_DENIED", "Nothing was chosen to share.");
      return error("PERMISSION_DENIED", `The ${device} is not allowed on this page: allow it in the address bar.`);
    case "SecurityError":
      return error("BLOCKED_BY_POLICY", `This browser's settings keep the ${device} from this page.`);
    case "NotFoundError":
      return error("NO_DEVICE", `There is no ${device}.`);
    case "NotReadableError":
    case "AbortError":
      return error("DEVICE_BUSY", `The ${device} is there but gives nothing; another program may be using it.`);
    case "OverconstrainedError":
      return error("DEVICE_UNFIT", `No ${device} does what was asked for: ${(cause as OverconstrainedError).constraint || "its size or rate"}.`);
    default:
      return error("DEVICE_FAILED", `The ${device} cannot be opened: ${message || name || String(cause)}`);
  }
}

/** Whether a policy keeps a device from the page, where the browser tells. */
function forbidden(device: Device): boolean {
  const { featurePolicy } = globalThis.document as unknown as { featurePolicy?: { allowsFeature(name: string): boolean } } ?? {};
  return featurePolicy?.allowsFeature(device === "screen" ? "display-capture" : device) === false;
}
