// The page by keyboard: single letters, listed in a dialog. They can be turned off there (WCAG 2.1.4): speech input types letters by mistake.

import { byId, element } from "./dom.js";
import { remember, remembered } from "./remember.js";

/** @typedef {{ key: string, does: string, act: () => void }} Shortcut does: as it is listed; empty for one that a range stands for */

/**
 * What a key press means: the shortcut's key, or undefined for one that is meant for something else. Pure.
 * @param {{ key: string, ctrlKey: boolean, metaKey: boolean, altKey: boolean }} event @param {{ tag: string, type?: string, editable?: boolean } | undefined} target what has the focus
 */
export function meant({ key, ctrlKey, metaKey, altKey }, target) {
  if (ctrlKey || metaKey || altKey) return undefined;
  const isText = target?.editable || target?.tag === "TEXTAREA" || target?.tag === "SELECT" || (target?.tag === "INPUT" && !["checkbox", "radio", "button"].includes(target.type ?? ""));
  if (isText) return undefined;
  return key.length === 1 ? key.toLowerCase() : key;
}

/**
 * Wires the shortcuts, #help (a button), and #help-dialog, which lists them.
 * @param {readonly Shortcut[]} shortcuts @param {readonly (readonly [string, string])[]} more keys, parted by spaces, and what they do, to list besides
 */
export function wireKeys(shortcuts, more) {
  const dialog = byId("help-dialog");
  const enabled = byId("keys-on");
  enabled.checked = remembered("keys") !== "off";
  enabled.addEventListener("change", () => remember("keys", enabled.checked ? undefined : "off"));
  const listed = [...shortcuts.filter(({ does }) => does).map(({ key, does }) => [key, does]), ...more];
  byId("keys-list").replaceChildren(...listed.flatMap(([keys, does]) => {
    const term = element("dt");
    term.append(...keys.split(" ").map((key) => element(key === "…" ? "span" : "kbd", "", key)));
    return [term, element("dd", "", does)];
  }));
  byId("help").addEventListener("click", () => dialog.showModal());
  addEventListener("keydown", (event) => {
    const focused = /** @type {HTMLInputElement | null} */ (document.activeElement);
    const key = meant(event, focused ? { tag: focused.tagName, type: focused.type, editable: focused.isContentEditable } : undefined);
    if (!key || event.repeat || !enabled.checked || dialog.open) return;
    if (key === "?") return dialog.showModal();
    const shortcut = shortcuts.find((candidate) => candidate.key.toLowerCase() === key.toLowerCase());
    if (!shortcut) return;
    event.preventDefault();
    shortcut.act();
  });
}
