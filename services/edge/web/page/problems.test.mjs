import assert from "node:assert/strict";
import { test } from "node:test";
import { CODES, ENDS, advise, explain, explainError } from "./problems.js";
import { SluiceError } from "../sdk/sluice.js";

test("every code has words, and says what can be done", () => {
  for (const code of CODES) {
    const { title, text, hints, action } = explain(code);
    assert.ok(title.length > 4 && title.length < 60, `${code}: title “${title}”`);
    assert.match(title, /[^.]$/, `${code}: a title is no sentence`);
    assert.match(text, /[.?]$|^$/, `${code}: “${text}”`);
    assert.ok(["retry", "token", "none"].includes(action));
    for (const said of [title, text, ...hints]) assert.doesNotMatch(said, /undefined|NaN|\[object/, code);
  }
});

test("errors of devices, of the SDK and of the edge each get their own words", async (t) => {
  const cases = [
    [new DOMException("no", "NotAllowedError"), "camera", "CAMERA_DENIED"],
    [new DOMException("no", "NotAllowedError"), "screen", "SCREEN_DENIED"],
    [new DOMException("no", "NotFoundError"), "camera", "NO_CAMERA"],
    [new DOMException("no", "NotReadableError"), "camera", "CAMERA_BUSY"],
    [Object.assign(new Error("no"), { name: "OverconstrainedError" }), "camera", "CAMERA_UNFIT"],
    [new DOMException("no", "NotSupportedError"), "screen", "NO_SCREEN"],
    [Object.assign(new Error("INSECURE"), { code: "INSECURE" }), "camera", "INSECURE"],
    [new SluiceError("ICE_FAILED", "x", { addresses: ["udp 192.0.2.1:8189"] }), "camera", "ICE_FAILED"],
    [new SluiceError("UNAUTHORIZED", "x", { status: 401 }), "camera", "UNAUTHORIZED"],
    [new SluiceError("TOO_MANY_SESSIONS", "x", { status: 503, retryAfter: 5 }), "camera", "TOO_MANY_SESSIONS"],
    [new TypeError("a mistake"), "file", "UNEXPECTED"],
    [undefined, "file", "UNEXPECTED"],
  ];
  for (const [error, source, code] of cases)
    await t.test(`${error?.name} ${error?.code ?? ""} ${source}`, () => assert.equal(explainError(error, source).code, code));
});

test("what the context knows is said", () => {
  const ice = explainError(new SluiceError("ICE_FAILED", "x", { addresses: ["udp 192.0.2.1:8189", "tcp 192.0.2.1:8189"] }));
  assert.match(ice.text, /udp 192\.0\.2\.1:8189, tcp 192\.0\.2\.1:8189/);
  assert.match(ice.hints.join(" "), /8189, UDP and TCP/);
  assert.match(explain("TOO_MANY_SESSIONS", { retryAfter: 5 }).text, /in 5 seconds/);
  assert.match(explain("DRAINING", { retryAfter: 1 }).text, /in 1 second\./);
  assert.match(explain("UNKNOWN_MODEL", { detail: 'no router has "cats".' }).text, /cats/);
  assert.match(explain("INSECURE", { origin: "http://192.0.2.7:8080" }).hints.join(" "), /ssh -L \S+ 192\.0\.2\.7/);
  assert.equal(explain("UNAUTHORIZED").action, "token");
});

test("a code that is not known here is told in the edge's own words", () => {
  const problem = explain("SDP_TOO_LARGE", { detail: "an offer has at most 16 media descriptions", status: 413 });
  assert.match(problem.text, /^An offer has at most 16 media descriptions\. \(SDP_TOO_LARGE\)/);
  assert.match(explain("TOO_MANY_CONNECTIONS", { status: 503, retryAfter: 5 }).text, /Try again in 5 seconds/);
  assert.equal(explain("HTTP_401", { status: 401 }).action, "token");
});

test("every end of a frame that the contract names is explained", () => {
  const ends = ["SUPERSEDED", "EXPIRED", "OVERLOADED", "DAMAGED", "RATE_LIMITED", "TOO_LARGE", "NO_ROUTER", "DRAINING", "BACKEND_UNAVAILABLE",
    "BACKEND_TIMEOUT", "BACKEND_PROTOCOL", "BACKEND_REJECTED", "DECODER", "ROUTER_LOST", "UNSUPPORTED", "INTERNAL"];
  for (const end of ends) assert.ok(ENDS[end]?.endsWith("."), end);
});

test("advice while a session stands", async (t) => {
  const well = { state: "connected", seconds: 10, answered: false, sentRate: 30, lately: { result: 40, EXPIRED: 4 }, models: [{ name: "faces", ready: true }] };
  const cases = [
    ["all is well", {}, undefined],
    ["it has only just begun", { seconds: 1, lately: {} }, undefined],
    ["interrupted, however young", { seconds: 1, state: "interrupted" }, "INTERRUPTED"],
    ["no router", { lately: { NO_ROUTER: 30, result: 2 } }, "ROUTER_GONE"],
    ["the router is silent", { lately: { ROUTER_LOST: 30 } }, "ROUTER_GONE"],
    ["no backend", { lately: { BACKEND_UNAVAILABLE: 30 } }, "MODEL_NOT_READY"],
    ["no backend from the start", { lately: {}, models: [{ name: "faces", ready: false }] }, "MODEL_NOT_READY"],
    ["too slow", { lately: { EXPIRED: 10, SUPERSEDED: 10, BACKEND_TIMEOUT: 5, result: 20 } }, "TOO_SLOW"],
    ["loss", { lately: { DAMAGED: 20, result: 10 } }, "DAMAGED"],
    ["too much", { lately: { RATE_LIMITED: 20 } }, "RATE_LIMITED"],
    ["failing", { lately: { BACKEND_REJECTED: 20, result: 1 } }, "FAILING"],
    ["nothing sent", { lately: {}, sentRate: 0 }, "NOTHING_SENT"],
    ["no models", { lately: {}, models: [] }, "NO_MODELS"],
    ["silence", { lately: {} }, "NO_ANSWERS"],
    ["silence after answers", { lately: {}, answered: true }, "SILENT"],
  ];
  for (const [name, change, want] of cases)
    await t.test(name, () => {
      const advice = advise({ ...well, ...change });
      assert.equal(advice?.code, want);
      if (advice) assert.ok(CODES.includes(advice.code));
    });
});
