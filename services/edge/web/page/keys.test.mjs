import assert from "node:assert/strict";
import { test } from "node:test";
import { meant } from "./keys.js";

const press = (key, more = {}) => ({ key, ctrlKey: false, metaKey: false, altKey: false, ...more });

test("a letter is a shortcut, whatever its case", () => {
  assert.equal(meant(press("c"), { tag: "BODY" }), "c");
  assert.equal(meant(press("C"), undefined), "c");
  assert.equal(meant(press("?"), { tag: "BUTTON" }), "?");
  assert.equal(meant(press("ArrowLeft"), { tag: "BODY" }), "ArrowLeft");
  assert.equal(meant(press("m"), { tag: "INPUT", type: "checkbox" }), "m");
});

test("the browser's own shortcuts and what is typed are left alone", () => {
  for (const modifier of ["ctrlKey", "metaKey", "altKey"]) assert.equal(meant(press("c", { [modifier]: true }), { tag: "BODY" }), undefined);
  for (const target of [{ tag: "INPUT", type: "password" }, { tag: "INPUT", type: "text" }, { tag: "TEXTAREA" }, { tag: "SELECT" }, { tag: "DIV", editable: true }])
    assert.equal(meant(press("c"), target), undefined, JSON.stringify(target));
});
