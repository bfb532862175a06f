import assert from "node:assert/strict";
import { test } from "node:test";

import { candidateAddresses, parseLinks } from "../build/signal.js";

test("parseLinks reads the header of a WHIP answer", () => {
  const header = '<stun:stun.example:3478>; rel="ice-server", ' +
    '<turn:turn.example:3478?transport=udp>; rel="ice-server"; username="a, b"; credential="q\\"u;o"; credential-type="password",' +
    "</sessions/9f2c/results>;rel=urn:ietf:params:whip:ext:sluice:results";
  assert.deepEqual(parseLinks(header), [
    { target: "stun:stun.example:3478", rel: "ice-server" },
    { target: "turn:turn.example:3478?transport=udp", rel: "ice-server", username: "a, b", credential: 'q"u;o', "credential-type": "password" },
    { target: "/sessions/9f2c/results", rel: "urn:ietf:params:whip:ext:sluice:results" },
  ]);
  assert.deepEqual(parseLinks(null), []);
  assert.deepEqual(parseLinks("<broken"), []);
});

test("candidateAddresses names what was tried", () => {
  const sdp = ["v=0", "a=candidate:1 1 udp 2130706431 192.0.2.1 8189 typ host", "a=candidate:1 2 udp 2130706431 192.0.2.1 8189 typ host",
    "a=candidate:2 1 TCP 1671430143 2001:db8::1 8189 typ host tcptype passive", "a=end-of-candidates", ""].join("\r\n");
  assert.deepEqual(candidateAddresses(sdp), ["udp 192.0.2.1:8189", "tcp [2001:db8::1]:8189"]);
  assert.deepEqual(candidateAddresses(""), []);
});
