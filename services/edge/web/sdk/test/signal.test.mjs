import assert from "node:assert/strict";
import { test } from "node:test";

import { parseLinks } from "../build/signal.js";

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
