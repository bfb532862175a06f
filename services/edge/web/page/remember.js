// Small choices of the visitor that outlive a visit. Where the browser keeps nothing for pages, each visit begins anew.

const PREFIX = "sluice.";

/** @param {string} name @returns {string | undefined} */
export function remembered(name) {
  try {
    return localStorage.getItem(PREFIX + name) ?? undefined;
  } catch {
    return undefined; // storage is turned off for this page
  }
}

/** @param {string} name @param {string | undefined} value undefined forgets it */
export function remember(name, value) {
  try {
    if (value === undefined) localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, value);
  } catch {
    // storage is turned off, or full: the choice holds for this visit
  }
}
