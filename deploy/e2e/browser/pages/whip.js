// Publishing by WHIP without the SDK.

/**
 * WHIP (RFC 9725) with complete candidates, for the faces.
 * @param {RTCPeerConnection} peer @param {string} edge
 * @returns ends the session
 */
export async function whip(peer, edge) {
  await peer.setLocalDescription();
  await new Promise((resolve) => {
    const check = () => peer.iceGatheringState === "complete" && resolve(undefined);
    peer.onicegatheringstatechange = check;
    check();
  });
  const response = await fetch(`${edge}/whip?model=faces`, { method: "POST", headers: { "Content-Type": "application/sdp" }, body: peer.localDescription.sdp });
  if (response.status !== 201) throw new Error(`WHIP: ${response.status} ${await response.text()}`);
  await peer.setRemoteDescription({ type: "answer", sdp: await response.text() });
  return () => void fetch(response.headers.get("Location"), { method: "DELETE", keepalive: true }).finally(() => peer.close());
}
