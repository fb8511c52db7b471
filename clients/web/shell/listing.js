/**
 * What the exchange lists: fetched until it is known, then anew now and then, as symbols are halted, added and delisted.
 * @module
 */

import { ApiError, fetchCatalog } from "../common/api.js";

/** @typedef {import("../common/instruments.js").Catalog} Catalog */

const RETRY_MS = 2000;
const REFRESH_MS = 300_000;
const CHECK_MS = 30_000;

/** Events: `change` (the catalog was fetched anew). */
export class Listing extends EventTarget {
  #fetchedMs = 0;

  /** @param {Catalog} catalog */
  constructor(catalog) {
    super();
    this.catalog = catalog;
    this.#fetchedMs = Date.now();
    setInterval(() => this.#refreshWhereOld(), CHECK_MS);
    document.addEventListener("visibilitychange", () => this.#refreshWhereOld());
  }

  /**
   * Try until the exchange's symbols are known.
   * @param {(words: string) => void} tell the user why it takes so long
   * @returns {Promise<Listing>}
   */
  static async load(tell) {
    for (;;) {
      try {
        const catalog = await fetchCatalog();
        if (catalog.all.length > 0) return new Listing(catalog);
        tell("The exchange's symbols are not known yet. Trying again…");
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        tell(`Symbols: ${error.message}. Trying again…`);
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  async #refreshWhereOld() {
    if (document.hidden) return;
    // The server learns of each market by itself: what it did not know at first, it knows soon.
    if (this.catalog.isWhole && Date.now() - this.#fetchedMs < REFRESH_MS) return;
    this.#fetchedMs = Date.now();
    let fresh;
    try {
      fresh = await fetchCatalog();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      // The lights say that the server is away; what was listed is still the best that is known.
      return;
    }
    this.catalog = fresh.following(this.catalog);
    this.dispatchEvent(new Event("change"));
  }
}
