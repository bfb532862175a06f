// Light or dark: as the system says, or as the visitor does.

import { byId } from "./dom.js";
import { remember, remembered } from "./remember.js";

const THEMES = /** @type {const} */ (["system", "light", "dark"]);

/** Wires #theme, a button that goes through the themes. @param {() => void} changed called when what is drawn has to be drawn anew */
export function wireTheme(changed) {
  const button = byId("theme");
  const found = THEMES.indexOf(/** @type {any} */ (remembered("theme")));
  let at = Math.max(0, found);
  const apply = () => {
    const theme = THEMES[at];
    document.documentElement.dataset.theme = theme;
    button.dataset.theme = theme;
    button.setAttribute("aria-label", `Colours: ${theme}`);
    button.title = `Colours: ${theme}${theme === "system" ? "'s choice" : ""} (T)`;
    remember("theme", theme === "system" ? undefined : theme);
    changed();
  };
  button.addEventListener("click", () => {
    at = (at + 1) % THEMES.length;
    apply();
  });
  apply();
}
