// Sends a test card in a session whose offers the edge makes, without the SDK and without a word about header extensions, and restarts ICE half-way.

import { testCard } from "./sources.js";

/** @param {{ edge: string, results: number }} options results: how many to wait for before the restart, and again after it */
window.run = async ({ edge, results }) => {
  const peer = new RTCPeerConnection();
  const track = testCard(document.getElementById("canvas"), 30).getVideoTracks()[0];
  const socket = new WebSocket(`${edge.replace(/^http/, "ws")}/ws?model=faces`);
  const say = (/** @type {object} */ message) => socket.send(JSON.stringify(message));
  /** @type {{ stream: string, clock: string, end: string, restarted: boolean }[]} */ const outcomes = [];
  /** @type {string[]} */ const users = []; // the edge's ICE user names
  const isDone = (/** @type {boolean} */ restarted) => outcomes.filter((o) => o.restarted === restarted && o.end === "result").length >= results;
  peer.onicecandidate = ({ candidate }) => candidate && say({ candidate });
  await new Promise((resolve, reject) => {
    socket.onclose = ({ code }) => reject(new Error(`the WebSocket closed with ${code}`));
    socket.onmessage = async ({ data }) => {
      const { welcome, offer, candidate, problem, outcome } = JSON.parse(data);
      if (problem) reject(new Error(`${problem.code}: ${problem.detail}`));
      else if (welcome) say({ offerRequest: { video: 1 } });
      else if (offer) {
        users.push(/a=ice-ufrag:(\S+)/.exec(offer.sdp)?.[1] ?? "");
        await peer.setRemoteDescription({ type: "offer", sdp: offer.sdp });
        const [transceiver] = peer.getTransceivers();
        transceiver.direction = "sendonly";
        await transceiver.sender.replaceTrack(track);
        await peer.setLocalDescription();
        say({ answer: { sdp: peer.localDescription?.sdp } });
      } else if (candidate) await peer.addIceCandidate(candidate);
      else if (outcome) {
        const { stream, clock, result, drop, error } = outcome;
        const wasDone = isDone(false);
        outcomes.push({ stream, clock, end: drop?.reason ?? error?.code ?? (result ? "result" : "nothing"), restarted: users.length > 1 });
        if (!wasDone && isDone(false)) say({ offerRequest: { video: 1, restart: true } });
        else if (isDone(true)) resolve(undefined);
      }
    };
  });
  socket.onclose = null;
  say({ bye: {} });
  const state = peer.connectionState;
  peer.close();
  return { state, users, outcomes };
};
