import assert from "node:assert/strict";
import { test } from "node:test";

import { SluiceError, connect } from "../build/index.js";

test("connect says so where there is no WebRTC", async () => {
  await assert.rejects(connect({ url: "http://edge.example/" }), (error) => error instanceof SluiceError && error.code === "NO_WEBRTC");
});
