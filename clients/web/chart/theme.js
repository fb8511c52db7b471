/**
 * The colours of the chart, from the page's own.
 * @module
 */

/** @typedef {ReturnType<typeof readTheme>} Theme */

/** @param {HTMLElement} element whose custom properties hold the colours */
export function readTheme(element) {
  const style = getComputedStyle(element);
  const colour = (/** @type {string} */ name) => style.getPropertyValue(`--${name}`).trim();
  return {
    surface: colour("surface"),
    muted: colour("muted"),
    grid: colour("grid"),
    label: colour("label"),
    watermark: colour("watermark"),
    up: colour("up"),
    down: colour("down"),
    upSoft: colour("up-soft"),
    downSoft: colour("down-soft"),
    font: style.fontFamily,
  };
}

/**
 * Call `apply` whenever the page changes its colours (shell/theme.js).
 * @param {() => void} apply
 */
export function onThemeChange(apply) {
  document.documentElement.addEventListener("themechange", apply);
}
