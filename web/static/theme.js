/** Dark or light: the system's choice until the user makes one; loaded before the first paint. */

import { remember, remembered } from "./memory.js";

const chosen = remembered("theme");
if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;

/** @returns {"dark" | "light"} what is shown now */
function shown() {
  const { theme } = document.documentElement.dataset;
  if (theme === "dark" || theme === "light") return theme;
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

document.addEventListener("click", ({ target }) => {
  if (!(target instanceof Element) || target.closest("[data-action=theme]") === null) return;
  const theme = shown() === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  remember("theme", theme);
});
