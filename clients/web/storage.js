/**
 * The user's own watchlist, kept in this browser.
 * @module
 */

const KEY = "tickcast.watchlist";

/**
 * The symbols kept, or null where there are none or the browser keeps nothing for this page.
 * @returns {string[] | null}
 */
export function loadWatchlist() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "null");
    return Array.isArray(kept) && kept.every((symbol) => typeof symbol === "string") ? kept : null;
  } catch (error) {
    console.warn("The watchlist cannot be read back.", error);
    return null;
  }
}

/** @param {string[]} symbols */
export function saveWatchlist(symbols) {
  try {
    localStorage.setItem(KEY, JSON.stringify(symbols));
  } catch (error) {
    console.warn("The watchlist cannot be kept.", error);
  }
}
