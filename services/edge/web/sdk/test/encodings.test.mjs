import assert from "node:assert/strict";
import { test } from "node:test";

import { encodingFor, encodingsFor, follow } from "../build/encodings.js";

test("encodingFor never goes below what is looked at", async (t) => {
  const cases = [
    { name: "a box inside", demand: { maxFramerate: 15, maxWidth: 320, maxHeight: 240 }, size: [1280, 720], want: { active: true, maxFramerate: 15, scaleResolutionDownBy: 3 } },
    { name: "smaller than asked", demand: { maxWidth: 640, maxHeight: 360 }, size: [320, 180], want: { active: true, scaleResolutionDownBy: 1 } },
    { name: "nothing looked at", demand: { maxFramerate: 0 }, size: [640, 360], want: { active: false, scaleResolutionDownBy: 1 } },
    { name: "size unknown", demand: { maxFramerate: 5, maxWidth: 320, maxHeight: 240 }, size: [], want: { active: true, maxFramerate: 5, scaleResolutionDownBy: 1 } },
  ];
  for (const { name, demand, size, want } of cases) await t.test(name, () => assert.deepEqual(encodingFor(demand, ...size), want));
});

test("follow keeps to a demand and to the page's own settings, and gives these back", async (t) => {
  const cases = [
    { name: "below the page's", own: {}, wanted: { active: true, maxFramerate: 5, scaleResolutionDownBy: 2 }, want: { active: true, maxFramerate: 5, scaleResolutionDownBy: 2 } },
    { name: "above the page's", own: { maxFramerate: 10, scaleResolutionDownBy: 4 }, wanted: { active: true, maxFramerate: 20, scaleResolutionDownBy: 2 }, want: { active: true, maxFramerate: 10, scaleResolutionDownBy: 4 } },
    { name: "over", own: {}, wanted: { active: true, scaleResolutionDownBy: 1 }, want: { active: true, scaleResolutionDownBy: 1 } },
    { name: "over, with the page's own", own: { maxFramerate: 24 }, wanted: { active: true, scaleResolutionDownBy: 1 }, want: { active: true, maxFramerate: 24, scaleResolutionDownBy: 1 } },
    { name: "fewer bits", own: {}, wanted: { active: true, maxBitrate: 200, scaleResolutionDownBy: 1 }, want: { active: true, maxBitrate: 200, scaleResolutionDownBy: 1 } },
    { name: "fewer bits of the page's", own: { maxBitrate: 100 }, wanted: { active: true, maxBitrate: 200, scaleResolutionDownBy: 1 }, want: { active: true, maxBitrate: 100, scaleResolutionDownBy: 1 } },
    { name: "off", own: { active: false }, wanted: { active: true, scaleResolutionDownBy: 1 }, want: { active: false, scaleResolutionDownBy: 1 } },
  ];
  for (const { name, own, wanted, want } of cases)
    await t.test(name, () => {
      const encoding = { active: true, maxFramerate: 3, maxBitrate: 7, scaleResolutionDownBy: 9 };
      follow(encoding, own, wanted);
      assert.deepEqual(encoding, want);
    });
});

test("encodingsFor leaves each encoding what is looked at, and the bits for it", async (t) => {
  const picture = { width: 640, height: 360, frameRate: 30 };
  const layers = [{ rid: "q", scaleResolutionDownBy: 4 }, { rid: "h", scaleResolutionDownBy: 2 }, { rid: "f", scaleResolutionDownBy: 1 }];
  const cases = [
    { name: "a third of the frames", demand: { maxFramerate: 10 }, own: [{}], want: [{ active: true, maxFramerate: 10, maxBitrate: 566_667, scaleResolutionDownBy: 1 }] },
    { name: "a part of a frame", demand: { maxFramerate: 1.5 }, own: [{}], want: [{ active: true, maxFramerate: 2, maxBitrate: 85_000, scaleResolutionDownBy: 1 }] },
    { name: "and a quarter of the picture", demand: { maxFramerate: 10, maxWidth: 320, maxHeight: 180 }, own: [{}], want: [{ active: true, maxFramerate: 10, maxBitrate: 200_000, scaleResolutionDownBy: 2 }] },
    { name: "of the page's own bits", demand: { maxFramerate: 10 }, own: [{ maxBitrate: 300_000 }], want: [{ active: true, maxFramerate: 10, maxBitrate: 100_000, scaleResolutionDownBy: 1 }] },
    { name: "of the page's own frames", demand: { maxFramerate: 10 }, own: [{ maxFramerate: 20 }], want: [{ active: true, maxFramerate: 10, maxBitrate: 850_000, scaleResolutionDownBy: 1 }] },
    { name: "more than the page sends", demand: { maxFramerate: 10 }, own: [{ maxFramerate: 5 }], want: [{ active: true, maxFramerate: 10, scaleResolutionDownBy: 1 }] },
    { name: "more than the source has", demand: { maxFramerate: 40 }, own: [{}], want: [{ active: true, maxFramerate: 40, scaleResolutionDownBy: 1 }] },
    { name: "of a source that says nothing", demand: { maxFramerate: 15 }, own: [{}], picture: {}, want: [{ active: true, maxFramerate: 15, maxBitrate: 300_000, scaleResolutionDownBy: 1 }] },
    { name: "a size only", demand: { maxWidth: 320, maxHeight: 180 }, own: [{}], want: [{ active: true, scaleResolutionDownBy: 2 }] },
    { name: "nothing", demand: { maxFramerate: 0 }, own: [{}], want: [{ active: false, scaleResolutionDownBy: 1 }] },
    { name: "no demand", demand: {}, own: [{ maxBitrate: 5 }], want: [{ active: true, scaleResolutionDownBy: 1 }] },
    {
      name: "the layers up to the smallest that is enough", demand: { maxFramerate: 15, maxWidth: 300, maxHeight: 160 }, own: layers, want: [
        { active: true, maxFramerate: 15, maxBitrate: 100_000, scaleResolutionDownBy: 4 }, { active: true, maxFramerate: 15, maxBitrate: 100_000, scaleResolutionDownBy: 2 },
        { active: false, maxFramerate: 15, maxBitrate: 350_000, scaleResolutionDownBy: 1 },
      ],
    },
    { name: "all layers for the largest", demand: { maxWidth: 640, maxHeight: 360 }, own: layers, want: [4, 2, 1].map((scaleResolutionDownBy) => ({ active: true, scaleResolutionDownBy })) },
    {
      name: "not those that the page has left out", demand: { maxWidth: 160, maxHeight: 90 }, own: [{ ...layers[0], active: false }, layers[1], layers[2]],
      want: [{ active: true, scaleResolutionDownBy: 4 }, { active: true, scaleResolutionDownBy: 2 }, { active: false, scaleResolutionDownBy: 1 }], // follow keeps it out
    },
  ];
  for (const { name, demand, own, want, picture: other } of cases) await t.test(name, () => assert.deepEqual(encodingsFor(demand, own, other ?? picture), want));
});
