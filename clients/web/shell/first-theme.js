/**
 * Names the theme before anything is drawn. Not a module, as those wait for the document; shell/theme.js goes on from here.
 */
(() => {
  /** @type {string | null} */
  let kept = null;
  try {
    kept = localStorage.getItem("tickcast.theme");
  } catch (error) {
    console.warn("The theme cannot be read back.", error);
  }
  const isDark = kept ? kept === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = isDark ? "dark" : "light";
})();
