import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { deviceError, openCamera } from "../build/devices.js";

const define = (name, value) => Object.defineProperty(globalThis, name, { value, configurable: true });
afterEach(() => ["navigator", "location", "document"].forEach((name) => define(name, undefined)));

for (const [name, message, device, code, says] of [
  ["NotAllowedError", "Permission denied", "camera", "PERMISSION_DENIED", /address bar/],
  ["NotAllowedError", "Permission denied by system", "camera", "BLOCKED_BY_SYSTEM", /operating system/],
  ["NotAllowedError", "", "screen", "PERMISSION_DENIED", /Nothing was chosen/],
  ["SecurityError", "", "camera", "BLOCKED_BY_POLICY", /settings/],
  ["NotFoundError", "", "microphone", "NO_DEVICE", /no microphone/],
  ["NotReadableError", "Could not start video source", "camera", "DEVICE_BUSY", /another program/],
  ["OverconstrainedError", "", "camera", "DEVICE_UNFIT", /asked for/],
  ["WeirdError", "odd", "camera", "DEVICE_FAILED", /odd/],
])
  test(`${name} of a ${device} is ${code}`, () => {
    const error = deviceError(new DOMException(message, name), device);
    assert.equal(error.code, code);
    assert.match(error.message, says);
  });

test("a page that its policy keeps from the camera says that, not that the visitor refused", () => {
  define("document", { featurePolicy: { allowsFeature: (name) => name !== "camera" } });
  assert.equal(deviceError(new DOMException("", "NotAllowedError"), "camera").code, "BLOCKED_BY_POLICY");
  assert.equal(deviceError(new DOMException("", "NotAllowedError"), "microphone").code, "PERMISSION_DENIED");
});

test("a page that is not secure is told so", async () => {
  define("navigator", {});
  define("location", { origin: "http://192.0.2.1" });
  await assert.rejects(openCamera(), (error) => error.code === "INSECURE_CONTEXT" && error.message.includes("http://192.0.2.1"));
});

test("openCamera asks for what is usual and for what is wished", async () => {
  let asked;
  const track = {};
  define("navigator", { mediaDevices: { getUserMedia: async (constraints) => ((asked = constraints), { getTracks: () => [track] }) } });
  assert.equal(await openCamera({ frameRate: 15, deviceId: "x" }), track);
  assert.deepEqual(asked, { video: { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: 15, deviceId: "x" } });
});
