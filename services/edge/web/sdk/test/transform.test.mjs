import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { SenderWatch } from "../build/transform.js";
import { settle } from "./browser.mjs";

class FakeWorker {
  static last;
  constructor(address) {
    FakeWorker.last = this;
    this.address = address;
  }
  terminate = () => (this.ended = true);
}

/** Puts a browser with workers and encoded transforms in place. */
function browser(t) {
  mock.timers.enable({ apis: ["setTimeout"] });
  globalThis.Worker = FakeWorker;
  globalThis.RTCRtpScriptTransform = class {
    constructor(worker) {
      this.worker = worker;
    }
  };
  t.after(() => {
    mock.timers.reset();
    delete globalThis.Worker;
    delete globalThis.RTCRtpScriptTransform;
  });
}

test("frames are noted as they leave, on the page's clock", async (t) => {
  browser(t);
  const noted = [];
  const starting = SenderWatch.start((frame) => noted.push(frame), 5000);
  const worker = FakeWorker.last;
  worker.onmessage({ data: "ready" });
  const watch = await starting;
  const [plain, own] = [{ transform: null }, { transform: "the page's" }];
  watch.attach(plain);
  watch.attach(own);
  assert.equal(plain.transform.worker, worker);
  assert.equal(own.transform, "the page's");
  worker.onmessage({ data: { ssrc: 7, rtpTimestamp: 90, at: 5123 } });
  assert.deepEqual(noted, [{ ssrc: 7, rtpTimestamp: 90, at: 123 }]);
  watch.close();
  assert.ok(worker.ended);
});

test("where a worker does not run, nothing passes through it", async (t) => {
  assert.equal(await SenderWatch.start(() => {}), undefined, "no transforms");
  browser(t);
  const refused = SenderWatch.start(() => {});
  FakeWorker.last.onerror({});
  assert.equal(await refused, undefined);
  assert.ok(FakeWorker.last.ended);
  const hanging = SenderWatch.start(() => {});
  await settle();
  mock.timers.tick(250);
  assert.equal(await hanging, undefined);
  assert.ok(FakeWorker.last.ended);
  globalThis.Worker = class {
    constructor() {
      throw new Error("a policy forbids it");
    }
  };
  assert.equal(await SenderWatch.start(() => {}), undefined);
});
