import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { EventParser, Refusal, commands, follow } from "./follow.js";

const STREAM = 'retry: 1000\n\nid: 7\nevent: outcome\ndata: {"a":1}\n\n: still here\n\nevent: skipped\ndata: {"skipped":3}\n\nid: 8\ndata: one\ndata: two\n\n';
const EVENTS = [
  { id: "7", type: "outcome", data: '{"a":1}' },
  { id: "7", type: "skipped", data: '{"skipped":3}' },
  { id: "8", type: "message", data: "one\ntwo" },
];

test("events are read whatever the pieces and line ends they come in", () => {
  for (const text of [STREAM, STREAM.replaceAll("\n", "\r\n")])
    for (const size of [1, 2, 3, 7, 1000]) {
      const parser = new EventParser();
      const got = [];
      for (let at = 0; at < text.length; at += size) got.push(...parser.push(text.slice(at, at + size)));
      assert.deepEqual(got, EVENTS, `pieces of ${size}`);
    }
});

test("an event that is not whole is not told", () => {
  const parser = new EventParser();
  assert.deepEqual(parser.push("data: half\n"), []);
  assert.deepEqual(parser.push("\n"), [{ id: undefined, type: "message", data: "half" }]);
  assert.deepEqual(parser.push("event: nothing\n\n"), []);
});

/** Answers one request after the other and keeps what was asked. */
function edge(...answers) {
  const asked = [];
  const fetch = async (_, init) => {
    asked.push(init.headers);
    const answer = answers.shift();
    if (answer === undefined) throw new TypeError("no network");
    return answer;
  };
  return { fetch, asked };
}

/** @param {object} options @param {AbortController} [control] */
async function all(options, control = new AbortController()) {
  const [events, states, pauses] = [[], [], []];
  const pause = async (ms) => pauses.push(ms) > 20 && control.abort();
  for await (const event of follow(new URL("http://edge.example/"), { signal: control.signal, state: (s) => states.push(s), pause, ...options })) events.push(event);
  return { events, states, pauses };
}

test("a broken stream is resumed after the last event, and the summary ends it", async () => {
  const { fetch, asked } = edge(new Response(STREAM), new Response('id: 9\nevent: summary\ndata: {}\n\nid: 10\ndata: late\n\n'));
  const { events, states, pauses } = await all({ fetch, token: "secret" });
  assert.deepEqual(events.map((e) => e.id), ["7", "7", "8", "9"]);
  assert.deepEqual(asked.map((h) => h["Last-Event-ID"]), [undefined, "8"]);
  assert.deepEqual(asked.map((h) => h.Authorization), ["Bearer secret", "Bearer secret"]);
  assert.deepEqual(states, ["following", "interrupted", "following"]);
  assert.deepEqual(pauses, [500]);
});

test("a session that is read to its end is over", async () => {
  const { fetch } = edge(new Response(null, { status: 204 }));
  assert.deepEqual((await all({ fetch })).events, []);
});

test("what trying again cannot mend is told", async () => {
  const body = JSON.stringify({ code: "SESSION_NOT_FOUND", detail: "no such session" });
  const { fetch } = edge(new Response(body, { status: 404 }));
  await assert.rejects(all({ fetch }), (error) => error instanceof Refusal && error.code === "SESSION_NOT_FOUND" && error.status === 404);
  await assert.rejects(all(edge(new Response("<html>", { status: 403 }))), (error) => error.code === "HTTP_403");
});

test("a busy edge and a missing network are waited for, ever longer", async () => {
  const { fetch } = edge(new Response("", { status: 503 }), undefined);
  const { pauses } = await all({ fetch });
  assert.deepEqual(pauses.slice(0, 7), [500, 1000, 2000, 4000, 8000, 8000, 8000]);
});

const resultsOf = (id) => new URL(`https://edge.example/sessions/${encodeURIComponent(id)}/results`);

test("the commands to follow a session are short for a usual id", () => {
  const { curl, grpcurl } = commands("0123abcd", resultsOf("0123abcd"), true);
  assert.equal(curl, 'curl -N -H "Authorization: Bearer $TOKEN" https://edge.example/sessions/0123abcd/results');
  assert.equal(grpcurl, `grpcurl -plaintext -d '{"session":"0123abcd"}' 127.0.0.1:50052 sluice.v1.InspectService/WatchOutcomes`);
  assert.ok(!commands("a", resultsOf("a"), false).curl.includes("TOKEN"));
});

for (const id of ["x'; echo owned; '", "x'\"}' & echo owned #", "$(echo owned)", "a\nb", "(x)"])
  test(`a shell takes the id ${JSON.stringify(id)} for nothing but an id`, () => {
    const { curl, grpcurl } = commands(id, resultsOf(id), false);
    const words = (command) => execFileSync("sh", ["-c", `printf '%s\\0' ${command}`], { encoding: "utf8" }).split("\0");
    assert.deepEqual(words(curl), ["curl", "-N", resultsOf(id).href, ""]);
    assert.deepEqual(JSON.parse(words(grpcurl)[3]), { session: id });
    assert.equal(words(grpcurl).length, 7);
  });
