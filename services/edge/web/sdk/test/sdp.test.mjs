import assert from "node:assert/strict";
import { test } from "node:test";

import { candidateAddresses, iceFragment, withFragment } from "../build/sdp.js";

test("candidateAddresses names what was tried", () => {
  const sdp = ["v=0", "a=candidate:1 1 udp 2130706431 192.0.2.1 8189 typ host", "a=candidate:1 2 udp 2130706431 192.0.2.1 8189 typ host",
    "a=candidate:2 1 TCP 1671430143 2001:db8::1 8189 typ host tcptype passive", "a=end-of-candidates", ""].join("\r\n");
  assert.deepEqual(candidateAddresses(sdp), ["udp 192.0.2.1:8189", "tcp [2001:db8::1]:8189"]);
  assert.deepEqual(candidateAddresses(""), []);
});

const lines = (...all) => all.map((line) => `${line}\r\n`).join("");

test("iceFragment tells of the first description what ICE needs, and nothing else", () => {
  const offer = lines(
    "v=0", "o=- 1 2 IN IP4 127.0.0.1", "a=group:BUNDLE 0 1", "a=ice-options:trickle", "a=fingerprint:sha-256 AB",
    "m=video 9 UDP/TLS/RTP/SAVPF 96", "c=IN IP4 0.0.0.0", "a=mid:0", "a=ice-ufrag:abcd", "a=ice-pwd:0123456789012345678901", "a=sendonly",
    "a=candidate:1 1 udp 1 192.0.2.7 5 typ host", "a=end-of-candidates", "a=ssrc:7 cname:x",
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "a=mid:1", "a=ice-ufrag:abcd", "a=candidate:1 1 udp 1 192.0.2.7 5 typ host",
  );
  const want = lines(
    "a=group:BUNDLE 0 1", "a=ice-options:trickle", "m=video 9 UDP/TLS/RTP/SAVPF 96", "a=mid:0", "a=ice-ufrag:abcd", "a=ice-pwd:0123456789012345678901",
    "a=candidate:1 1 udp 1 192.0.2.7 5 typ host", "a=end-of-candidates",
  );
  assert.equal(iceFragment(offer), want);
  assert.equal(iceFragment(offer.replaceAll("\r", "")), want);
  assert.equal(iceFragment(""), "");
});

test("withFragment changes the credentials and candidates of an answer alone", () => {
  const answer = (ufrag, password, ...candidates) =>
    lines(
      "v=0", "a=group:BUNDLE 0 1", "a=fingerprint:sha-256 CD", "m=video 9 UDP/TLS/RTP/SAVPF 96", "a=mid:0", `a=ice-ufrag:${ufrag}`, `a=ice-pwd:${password}`,
      "a=recvonly", ...candidates, "m=application 9 UDP/DTLS/SCTP webrtc-datachannel", `a=ice-ufrag:${ufrag}`, `a=ice-pwd:${password}`, "a=mid:1",
    );
  const fragment = lines("a=ice-ufrag:$&new", "a=ice-pwd:other", "a=candidate:2 1 udp 1 192.0.2.2 8189 typ host", "a=candidate:3 1 tcp 1 192.0.2.2 8189 typ host", "a=end-of-candidates");
  const got = withFragment(answer("old", "secret", "a=candidate:1 1 udp 1 192.0.2.1 8189 typ host", "a=end-of-candidates"), fragment);
  assert.equal(
    got,
    answer("$&new", "other", "a=candidate:2 1 udp 1 192.0.2.2 8189 typ host", "a=candidate:3 1 tcp 1 192.0.2.2 8189 typ host", "a=end-of-candidates"),
  );
});
