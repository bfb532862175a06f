import assert from "node:assert/strict";
import { test } from "node:test";

import { Outbox, pieces } from "../build/send.js";
import { FakeChannel, settle } from "./browser.mjs";

const bytes = (length, fill = 1) => new Uint8Array(length).fill(fill);

/** A connection with nothing but channels, which open at once unless it is told otherwise. */
function connection({ id = "s1", opens = true } = {}) {
  const channels = [];
  const createDataChannel = (label, init) => {
    const channel = new FakeChannel(label, init);
    channels.push(channel);
    if (opens) channel.readyState = "open";
    return channel;
  };
  return { id, isOpen: true, channels, peer: { createDataChannel } };
}

/** An outbox on a connection, and what it gave up. */
function outbox(on = connection()) {
  const unsent = [];
  const box = new Outbox((what) => unsent.push(what));
  box.attach(on);
  return { box, unsent, on, send: (data, { stream = "images", protocol = "", at = 0 } = {}) => box.send(stream, protocol, data, at) };
}

test("a message goes down its stream's channel, and its outcome finds its capture time", async () => {
  const { box, on, send } = outbox();
  assert.deepEqual(await send(bytes(10), { at: 111 }), { stream: "images", sequence: 1 });
  assert.deepEqual(await send(bytes(20), { at: 222 }), { stream: "images", sequence: 2 });
  assert.deepEqual(await send(bytes(4), { stream: "hands", protocol: "application/x-tensor;dtype=FP32;shape=1", at: 333 }), { stream: "hands", sequence: 1 });
  assert.deepEqual(on.channels.map(({ label, protocol, sent }) => [label, protocol, sent.length]), [["images", "", 2], ["hands", "application/x-tensor;dtype=FP32;shape=1", 1]]);
  assert.equal(box.captureTime({ session: "s1", stream: "images", sequence: 2 }), 222);
  assert.equal(box.captureTime({ stream: "hands", sequence: 1 }), 333);
  assert.equal(box.captureTime({ session: "s0", stream: "images", sequence: 2 }), undefined);
  assert.equal(box.captureTime({ stream: "images", sequence: 3 }), undefined);
});

test("while the network is busy one message waits, and the newest takes its place", async () => {
  const { send, on, unsent } = outbox();
  await send(bytes(10));
  const [channel] = on.channels;
  channel.bufferedAmount = 100_000;
  const second = send(bytes(11), { at: 2 });
  await settle();
  const third = send(bytes(12), { at: 3 });
  assert.equal(await second, undefined);
  assert.equal(channel.sent.length, 1);
  channel.bufferedAmount = 0;
  channel.onbufferedamountlow();
  assert.deepEqual(await third, { stream: "images", sequence: 2 });
  assert.equal(channel.sent[1].length, 12);
  assert.deepEqual(unsent, [{ stream: "images", captureTime: 2, reason: "SUPERSEDED" }]);
});

test("a channel that has yet to open has room for one message", async () => {
  const { send, on, unsent } = outbox(connection({ opens: false }));
  const first = send(bytes(1));
  await settle();
  const second = send(bytes(2));
  assert.equal(await first, undefined);
  on.channels[0].open();
  assert.deepEqual(await second, { stream: "images", sequence: 1 });
  assert.equal(unsent.length, 1);
});

test("sound is not replaced: parts of a recording wait for each other, up to a limit", async () => {
  const { send, on, unsent } = outbox(connection({ opens: false }));
  const all = [];
  for (let i = 0; i < 40; i++) {
    all.push(send(bytes(2, i), { stream: "voice", protocol: "audio/wav", at: i }));
    await settle();
  }
  on.channels[0].open();
  const went = (await Promise.all(all)).filter(Boolean);
  assert.deepEqual(on.channels[0].sent.map(([first]) => first), Array.from({ length: 32 }, (_, i) => i + 8));
  assert.deepEqual([went.length, unsent.length, unsent[0].captureTime], [32, 8, 0]);
});

test("what is not sent is not encoded either: the newest takes its place while another is encoded", async () => {
  const { box, on, unsent } = outbox();
  const encoded = [];
  let finish;
  const encode = (n) => () => {
    encoded.push(n);
    return new Promise((resolve) => (finish = () => resolve(bytes(n))));
  };
  const all = [1, 2, 3].map((n) => box.send("images", "", encode(n), n));
  await settle();
  finish();
  await settle();
  finish();
  assert.deepEqual((await Promise.all(all)).map((sent) => sent?.sequence), [1, undefined, 2]);
  assert.deepEqual(encoded, [1, 3]);
  assert.deepEqual(on.channels[0].sent.map(({ length }) => length), [1, 3]);
  assert.deepEqual(unsent, [{ stream: "images", captureTime: 2, reason: "SUPERSEDED" }]);
});

test("what fails to encode is the caller's to know, and holds up nothing", async () => {
  const { box, on, send } = outbox();
  await assert.rejects(box.send("images", "", async () => Promise.reject(new Error("broken")), 1), /broken/);
  await assert.rejects(box.send("images", "", () => { throw new Error("at once"); }, 1), /at once/);
  assert.deepEqual(await send(bytes(3)), { stream: "images", sequence: 1 });
  assert.equal(on.channels[0].sent.length, 1);
});

test("a message whose connection goes while it is encoded is given up", async () => {
  const { box, on, unsent } = outbox();
  let finish;
  const sending = box.send("images", "", () => new Promise((resolve) => (finish = () => resolve(bytes(1)))), 7);
  await settle();
  box.attach(connection({ id: "s2" }));
  finish();
  assert.equal(await sending, undefined);
  assert.deepEqual(unsent, [{ stream: "images", captureTime: 7, reason: "NOT_CONNECTED" }]);
  assert.equal(on.channels[0].sent.length, 0);
});

test("without a connection nothing is kept for later", async () => {
  const { box, send, unsent } = outbox();
  await send(bytes(1));
  box.attach(undefined);
  assert.equal(await send(bytes(2), { at: 5 }), undefined);
  const later = connection({ id: "s2" });
  box.attach(later);
  assert.deepEqual(await send(bytes(3), { at: 6 }), { stream: "images", sequence: 1 }); // numbered anew, as at the edge
  assert.deepEqual(unsent, [{ stream: "images", captureTime: 5, reason: "NOT_CONNECTED" }]);
  assert.equal(box.captureTime({ session: "s2", stream: "images", sequence: 1 }), 6);
  assert.equal(box.captureTime({ session: "s1", stream: "images", sequence: 1 }), undefined);
});

test("a channel that has closed under a standing connection keeps nobody waiting", async () => {
  const { send, on, unsent } = outbox();
  await send(bytes(1));
  on.channels[0].close();
  const sent = await Promise.race([send(bytes(2), { at: 5 }), settle().then(() => "it waits")]);
  assert.equal(sent, undefined);
  assert.deepEqual(unsent, [{ stream: "images", captureTime: 5, reason: "NOT_CONNECTED" }]);
});

test("what waits when the connection changes is given up", async () => {
  const { box, send, unsent } = outbox(connection({ opens: false }));
  const waiting = send(bytes(1));
  await settle();
  box.attach(connection());
  assert.equal(await waiting, undefined);
  assert.equal(unsent[0].reason, "NOT_CONNECTED");
});

test("misuse is named", async () => {
  const { send } = outbox();
  await assert.rejects(send(bytes((4 << 20) + 1)), (error) => error.code === "TOO_LARGE" && /4\.0 MiB/.test(error.message));
  await assert.rejects(send(bytes(1), { protocol: "application/json" }), (error) => error.code === "STREAM_TYPE");
  for (let i = 0; i < 6; i++) await send(bytes(1), { stream: `s${i}` });
  await assert.rejects(send(bytes(1), { stream: "one more" }), (error) => error.code === "TOO_MANY_STREAMS");
});

for (const [name, message, count] of [
  ["an empty message", bytes(0), 0],
  ["a small one", bytes(64 << 10), 0],
  ["one byte more", bytes((64 << 10) + 1), 3],
  ["the largest", bytes(4 << 20), 128],
  ["one that looks like a chunk", new TextEncoder().encode("SLC1 is how it begins"), 1],
])
  test(`pieces: ${name}`, () => {
    const all = [...pieces(message, 0xfffffffe)];
    if (count === 0) return assert.deepEqual(all, [message]);
    assert.equal(all.length, count);
    const whole = all.flatMap((piece, i) => {
      const view = new DataView(piece.buffer);
      assert.equal(new TextDecoder().decode(piece.subarray(0, 4)), "SLC1");
      assert.deepEqual([4, 8, 12].map((at) => view.getUint32(at)), [0xfffffffe, i, count]);
      return [...piece.subarray(16)];
    });
    assert.deepEqual(new Uint8Array(whole), message);
  });
