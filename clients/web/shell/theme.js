/**
 * Light or dark: as the system says, until the user says otherwise.
 *
 * `data-theme` of the document's element names the theme; `themechange`, fired at that element, tells who paints by
 * himself (canvases) that the colours of base.css have changed.
 * @module
 */

// As in first-theme.js.
const KEY = "tickcast.theme";
const darkScheme = matchMedia("(prefers-color-scheme: dark)");
const root = document.documentElement;

/**
 * Let `button` switch the theme, and follow the system where the user has not chosen.
 * @param {HTMLElement} button
 * @returns {() => void} switches to the other theme
 */
export function followTheme(button) {
  const apply = (/** @type {boolean} */ isDark) => {
    button.ariaPressed = String(isDark);
    if (root.dataset.theme === (isDark ? "dark" : "light")) return;
    root.dataset.theme = isDark ? "dark" : "light";
    root.dispatchEvent(new Event("themechange"));
  };
  const toggle = () => {
    const isDark = root.dataset.theme !== "dark";
    keep(isDark);
    apply(isDark);
  };
  button.addEventListener("click", toggle);
  darkScheme.addEventListener("change", () => {
    if (!isChosen()) apply(darkScheme.matches);
  });
  apply(root.dataset.theme === "dark");
  return toggle;
}

function isChosen() {
  try {
    return localStorage.getItem(KEY) !== null;
  } catch (error) {
    console.warn("The theme cannot be read back.", error);
    return false;
  }
}

/**
 * Keep a choice that differs from the system's; one that agrees with it follows it again.
 * @param {boolean} isDark
 */
function keep(isDark) {
  try {
    if (isDark === darkScheme.matches) localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, isDark ? "dark" : "light");
  } catch (error) {
    console.warn("The theme cannot be kept.", error);
  }
}
