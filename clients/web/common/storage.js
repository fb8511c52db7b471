/**
 * The user's own watchlist, kept in this browser.
 * @module
 */

const KEY = "tickcast.watchlist";

/**
 * The ids of the instruments kept, or null where there are none or the browser keeps nothing for this page.
 * @returns {string[] | null}
 */
export function loadWatchlist() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "null");
    if (!Array.isArray(kept) || !kept.every((id) => typeof id === "string")) return null;
    // Before there were two markets, symbols were kept.
    return kept.map((id) => (id.includes(":") ? id : `spot:${id}`));
  } catch (error) {
    console.warn("The watchlist cannot be read back.", error);
    return null;
  }
}

/** @param {string[]} ids */
export function saveWatchlist(ids) {
  try {
    localStorage.setItem(KEY, JSON.stringify(ids));
  } catch (error) {
    console.warn("The watchlist cannot be kept.", error);
  }
}
