// Sends JPEG pictures over a plain data channel and collects what comes back on it. The SDK is not used: this is all that a page needs.

import { countingCanvas } from "./sources.js";
import { whip } from "./whip.js";

const INTERVAL = 100; // ms between pictures

/**
 * @param {{ edge: string, signalling: "whip" | "websocket", picture: string, clip?: string, count: number }} options
 *   picture and clip are addresses; with a clip, a video track is sent beside the pictures
 */
window.run = async ({ edge, signalling, picture, clip, count }) => {
  const peer = new RTCPeerConnection();
  const channel = peer.createDataChannel("mlDataChannel");
  /** @type {any[]} */ const outcomes = [];
  /** @type {any[]} */ const elsewhere = []; // what comes on channels that the edge opened
  /** @type {any[]} */ const onSocket = [];
  const strange = []; // messages that are no outcome
  channel.onmessage = ({ data }) => take(data, outcomes, strange);
  peer.ondatachannel = ({ channel: opened }) => (opened.onmessage = ({ data }) => take(data, elsewhere, []));
  if (clip) {
    const stream = await countingCanvas(element("video"), clip, 10);
    peer.addTrack(stream.getVideoTracks()[0], stream);
  }
  const hangUp = signalling === "whip" ? await whip(peer, edge) : await websocket(peer, edge, (data) => take(data, onSocket, []));
  await opened(channel);
  const sent = await send(channel, picture, count);
  const isDone = () => channel.readyState !== "open" || outcomes.length >= sent;
  for (let waited = 0; !isDone() && waited < 2000; waited += 50) await pause(50);
  const state = channel.readyState;
  hangUp();
  return { state, sent, outcomes, elsewhere, onSocket, strange };
};

/** Draws the picture every 100 ms and sends it as JPEG. @returns how many were sent */
async function send(channel, address, count) {
  const picture = Object.assign(new Image(), { src: address });
  await picture.decode();
  const canvas = element("canvas");
  let sent = 0;
  await new Promise((resolve) => {
    const timer = setInterval(() => {
      if (sent === count || channel.readyState !== "open") {
        clearInterval(timer);
        return resolve(undefined);
      }
      sent++;
      canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
      canvas.toBlob((blob) => channel.readyState === "open" && channel.send(blob), "image/jpeg", 0.8);
    }, INTERVAL);
  });
  return sent;
}

/** Keeps what the test needs of a server message. */
function take(data, outcomes, strange) {
  const { outcome } = JSON.parse(data);
  if (!outcome) return strange.push(data);
  const { stream, sequence, model, result, drop, error } = outcome;
  outcomes.push({ stream, sequence, model, faces: result?.detections?.length ?? 0, end: drop?.reason ?? error?.code ?? (result ? "result" : "nothing") });
}

/** WebSocket signalling with trickled candidates. @param {(data: string) => void} message @returns ends the session */
async function websocket(peer, edge, message) {
  const socket = new WebSocket(`${edge.replace(/^http/, "ws")}/ws?model=faces`);
  peer.onicecandidate = ({ candidate }) => candidate && socket.send(JSON.stringify({ candidate }));
  await new Promise((resolve, reject) => {
    socket.onerror = () => reject(new Error("the WebSocket failed"));
    socket.onmessage = async ({ data }) => {
      const { welcome, answer, candidate, problem } = JSON.parse(data);
      if (problem) return reject(new Error(`${problem.code}: ${problem.detail}`));
      if (welcome) {
        await peer.setLocalDescription();
        socket.send(JSON.stringify({ offer: { sdp: peer.localDescription.sdp } }));
      } else if (answer) {
        await peer.setRemoteDescription({ type: "answer", sdp: answer.sdp });
        resolve(undefined);
      } else if (candidate) await peer.addIceCandidate(candidate);
      else message(data);
    };
  });
  return () => {
    socket.send('{"bye":{}}');
    peer.close();
  };
}

/** @param {RTCDataChannel} channel */
function opened(channel) {
  return new Promise((resolve, reject) => {
    channel.onopen = () => resolve(undefined);
    channel.onclose = () => reject(new Error("the data channel closed"));
    if (channel.readyState === "open") resolve(undefined);
  });
}

/** @param {string} id @returns {any} */
function element(id) {
  return document.getElementById(id);
}

/** @param {number} ms */
function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
