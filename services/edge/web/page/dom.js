// Small things that every part of the page does with its document.

/** @template {keyof HTMLElementTagNameMap} K @param {K} tag @param {string} [className] @param {string} [text] @returns {HTMLElementTagNameMap[K]} */
export function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

/** @param {string} id @returns {any} */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

/** Writes a text only when it is another one: unchanged text is neither laid out nor announced again. @param {Element} node @param {string} text */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Makes a list have a row for each item. Rows are kept, so that a pointer resting on one, or the focus, stays where it is.
 * @template T
 * @param {Element} list @param {readonly T[]} items @param {() => HTMLElement} make an empty row @param {(row: HTMLElement, item: T) => void} fill
 */
export function renderRows(list, items, make, fill) {
  while (list.children.length > items.length) list.lastElementChild?.remove();
  items.forEach((item, i) => fill(/** @type {HTMLElement} */ (list.children[i] ?? list.appendChild(make())), item));
}

/** Copies the text of the element that the button names. @param {HTMLElement} button */
export async function copyText(button) {
  const text = byId(button.dataset.copy ?? "");
  try {
    await navigator.clipboard.writeText(text.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection()?.selectAllChildren(text); // no clipboard outside of secure pages: one key press is left to do
    button.textContent = "Selected";
  }
  setTimeout(() => (button.textContent = "Copy"), 1500);
}
