// The lists of cameras and microphones, kept up to date while devices come and go.

import { byId, element } from "./dom.js";
import { remember, remembered } from "./remember.js";

const SIZES = [[360, "640 × 360"], [720, "1280 × 720"], [1080, "1920 × 1080"]];

/** Devices whose names the browser tells, which it does once one of their kind is allowed. @param {MediaDeviceKind} kind */
export async function listDevices(kind) {
  const devices = (await navigator.mediaDevices?.enumerateDevices?.().catch(() => [])) ?? [];
  return devices.filter((device) => device.kind === kind && device.deviceId && device.label);
}

/** @param {MediaDeviceKind} kind @returns {string | undefined} the id of the device chosen last */
export function lastDevice(kind) {
  return remembered(kind);
}

/** @returns {number} the height of the camera's pictures that was chosen last */
export function lastHeight() {
  const height = Number(remembered("height"));
  return SIZES.some(([known]) => known === height) ? height : 720;
}

/**
 * Wires the choices of #cameras, #sizes and #microphones.
 * @param {{ camera: () => void, microphone: () => void }} changed called when another one is chosen, which lastDevice() and lastHeight() tell then
 */
export function wireDevices(changed) {
  byId("sizes").replaceChildren(...SIZES.map(([height, label]) => option(String(height), String(label), height === lastHeight())));
  byId("cameras").addEventListener("change", () => {
    remember("videoinput", byId("cameras").value);
    changed.camera();
  });
  byId("sizes").addEventListener("change", () => {
    remember("height", byId("sizes").value);
    changed.camera();
  });
  byId("microphones").addEventListener("change", () => {
    remember("audioinput", byId("microphones").value);
    changed.microphone();
  });
}

/** Shows which devices there are, and which are in use. @param {MediaStreamTrack | undefined} camera @param {MediaStreamTrack | undefined} microphone */
export async function showDevices(camera, microphone) {
  await fill("cameras", "videoinput", camera);
  await fill("microphones", "audioinput", microphone);
  byId("sizes-label").hidden = !camera;
}

/** @param {string} id @param {MediaDeviceKind} kind @param {MediaStreamTrack | undefined} track */
async function fill(id, kind, track) {
  const devices = track ? await listDevices(kind) : [];
  const current = track?.getSettings().deviceId;
  const key = JSON.stringify([current, devices.map(({ deviceId, label }) => [deviceId, label])]);
  const select = byId(id);
  byId(`${id}-label`).hidden = devices.length === 0;
  if (select.dataset.key === key) return; // an open list stays open
  select.dataset.key = key;
  select.replaceChildren(...devices.map(({ deviceId, label }) => option(deviceId, label, deviceId === current)));
}

/** @param {string} value @param {string} label @param {boolean} selected */
function option(value, label, selected) {
  return Object.assign(element("option", "", label), { value, selected });
}
