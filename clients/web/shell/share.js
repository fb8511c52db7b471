/**
 * The link to what the page shows.
 * @module
 */

/**
 * Copy a link; where the browser does not let us (a page that is not served over HTTPS), the address bar gets it.
 * @param {string} query of the page, `?symbol=...&watch=...`
 * @param {(words: string) => void} tell
 */
export async function shareLink(query, tell) {
  const link = new URL(query, location.href);
  try {
    if (!navigator.clipboard) throw new DOMException("not a secure context", "NotAllowedError");
    await navigator.clipboard.writeText(link.href);
    tell("Link copied: symbol, interval and watchlist");
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    history.replaceState(null, "", link);
    tell("The link is in the address bar now: copy it from there");
  }
}
