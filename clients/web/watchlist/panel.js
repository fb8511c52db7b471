/**
 * The watchlist's panel: which instruments are listed, where that is kept, and the search that adds to it.
 * @module
 */

import { find } from "../common/dom.js";
import { idOf } from "../common/instruments.js";
import { loadWatchlist, saveWatchlist } from "../common/storage.js";
import { listenToRows } from "./moves.js";
import { moved, withAwaited } from "./order.js";
import { SearchBox } from "./search-box.js";
import { MAX_WATCHED, Watchlist } from "./watchlist.js";

/** @typedef {import("../common/instruments.js").Catalog} Catalog */
/** @typedef {import("../common/instruments.js").Instrument} Instrument */
/** @typedef {import("../../js/types/index.js").Client} Client */

/** Symbols that one notice names. */
const MAX_NAMED = 5;
/** A key that is held down selects where it stops: what it passes by need not be loaded. */
const WALK_PAUSE_MS = 120;

/**
 * The user's own list, kept in this browser, or one that came with a link, which is kept in the address alone.
 *
 * Events: `select` (CustomEvent of `{id, isWalk}`; `isWalk` while somebody leafs through the list), `change` (the list).
 */
export class WatchPanel extends EventTarget {
  #isShared = false;
  /** As it was opened; of it, what cannot be shown yet is still listed. @type {readonly string[]} */
  #opened = [];
  #walkTimer = 0;
  #strip;
  #list;
  #search;
  #catalog;
  #tell;

  /**
   * @param {HTMLElement} root
   * @param {HTMLTemplateElement} template of one row
   * @param {Client} client
   * @param {Catalog} catalog
   * @param {(words: string) => void} tell the user
   */
  constructor(root, template, client, catalog, tell) {
    super();
    this.#catalog = catalog;
    this.#tell = tell;
    this.#strip = find(root, "#shared-list");
    this.#list = new Watchlist(find(root, "#watch-box"), template, client);
    this.#search = new SearchBox(
      root,
      () => this.#catalog.all,
      (id) => this.#list.ids.includes(id),
    );
    this.#search.addEventListener("choose", (event) => this.#add(/** @type {CustomEvent<string>} */ (event).detail));
    listenToRows(find(root, "#rows"), {
      select: (id) => this.#select(id, false),
      remove: (id) => this.#remove(id),
      walk: (step) => this.walk(step),
      shift: (step) => this.#shift(step),
      place: (id, before) => this.#place(id, before),
    });
    this.#strip.addEventListener("click", ({ target }) => {
      const choice = target instanceof HTMLElement ? target.dataset.shared : undefined;
      if (choice === "keep") this.#keep(this.ids);
      if (choice === "own") this.#showOwn();
    });
  }

  /** @returns {string[]} the ids of what is listed, also of what cannot be shown until its market is known */
  get ids() {
    return withAwaited(this.#list.ids, this.#opened, (id) => this.#catalog.awaits(id));
  }

  /** @returns {string} the id of the first row */
  get first() {
    return this.#list.ids[0];
  }

  /** @returns {string[] | null} the ids that the address must carry; null for the user's own list */
  get sharedIds() {
    return this.#isShared ? this.ids : null;
  }

  /**
   * Show the list that came with the link, or else the user's own, or else the server's default.
   * @param {string[] | null} shared ids
   */
  open(shared) {
    this.#tellMissing(shared ?? loadWatchlist() ?? []);
    const listed = this.#listed(shared ?? []);
    this.#isShared = listed.length > 0;
    if (this.#isShared) this.#open(listed);
    else this.#showOwn();
  }

  /**
   * Mark the instrument that the page shows; what is not listed yet joins the list on the screen, but is not kept.
   * @param {Instrument} instrument
   */
  mark(instrument) {
    const id = idOf(instrument);
    const { ids } = this;
    if (!ids.includes(id) && ids.length < MAX_WATCHED) this.#show([...this.#known(ids), instrument]);
    this.#list.markSelected(id);
  }

  /**
   * Take over what the exchange lists now.
   * @param {Catalog} catalog
   */
  update(catalog) {
    const { ids } = this;
    this.#catalog = catalog;
    this.#list.update(catalog);
    if (ids.length > this.#list.ids.length) this.#show(this.#known(ids));
  }

  focusSearch() {
    this.#search.focus();
  }

  /** @param {number} step selects the row so many further down, as far as there are rows */
  walk(step) {
    const ids = this.#list.shownIds;
    const at = Math.max(0, Math.min(ids.length - 1, ids.indexOf(this.#list.selected) + step));
    this.#list.markSelected(ids[at]);
    this.#list.reveal(ids[at]);
    clearTimeout(this.#walkTimer);
    this.#walkTimer = setTimeout(() => this.#settle(), WALK_PAUSE_MS);
  }

  /** Select where a walk has come to. */
  #settle() {
    if (this.#walkTimer === 0) return;
    this.#select(this.#list.selected, true);
  }

  /** @param {string} id */
  #add(id) {
    if (!this.ids.includes(id)) {
      if (this.ids.length >= MAX_WATCHED) {
        this.#tell(`The watchlist holds ${MAX_WATCHED} symbols. Remove one first.`);
        return;
      }
      this.#change([...this.ids, id]);
    }
    this.#select(id, false);
    this.#list.reveal(id, true);
  }

  /** @param {string} id */
  #remove(id) {
    const shown = this.#list.shownIds;
    if (shown.length === 1) return;
    const at = shown.indexOf(id);
    const neighbour = shown[at + 1] ?? shown[at - 1];
    if (id === this.#list.selected) {
      this.#select(neighbour, false);
      this.#list.reveal(neighbour);
    }
    this.#change(this.ids.filter((one) => one !== id));
  }

  /** @param {number} step */
  #shift(step) {
    const ids = this.#list.shownIds;
    const at = ids.indexOf(this.#list.selected);
    const to = at + step;
    if (at < 0 || to < 0 || to >= ids.length) return;
    this.#place(ids[at], ids[step > 0 ? to + 1 : to]);
    this.#list.reveal(ids[at]);
  }

  /**
   * @param {string} id
   * @param {string | undefined} before
   */
  #place(id, before) {
    const ids = moved(this.#list.shownIds, id, before);
    this.#list.keepOrder();
    this.#change(ids);
  }

  /** @param {string[]} ids that the user has made */
  #change(ids) {
    this.#settle();
    this.#show(this.#known(ids));
    if (!this.#isShared) saveWatchlist(this.ids);
    this.dispatchEvent(new Event("change"));
  }

  /** @param {string[]} ids that become the user's own */
  #keep(ids) {
    this.#isShared = false;
    this.#change(ids);
  }

  #showOwn() {
    this.#isShared = false;
    this.#open(this.#listed(loadWatchlist() ?? []));
    this.dispatchEvent(new Event("change"));
  }

  /** @param {readonly string[]} ids of a list; of an empty one the server's default is shown */
  #open(ids) {
    this.#opened = ids;
    const [known, defaults] = [this.#known(ids), this.#known(this.#catalog.defaults)];
    const [first] = [...defaults, ...this.#catalog.all];
    // One row must be there; more would join a list of which nothing can be shown yet.
    const others = ids.length > 0 || defaults.length === 0 ? [first] : defaults;
    this.#show(known.length > 0 ? known : others);
  }

  /** @param {Instrument[]} instruments */
  #show(instruments) {
    this.#list.show(instruments);
    this.#strip.hidden = !this.#isShared;
  }

  /**
   * @param {string} id
   * @param {boolean} isWalk
   */
  #select(id, isWalk) {
    clearTimeout(this.#walkTimer);
    this.#walkTimer = 0;
    this.dispatchEvent(new CustomEvent("select", { detail: { id, isWalk } }));
  }

  /** @param {readonly string[]} ids of a list, some of which may not be listed any more */
  #tellMissing(ids) {
    const missing = ids.filter((id) => !this.#catalog.get(id));
    const [awaited, unlisted] = [true, false].map((is) => missing.filter((id) => this.#catalog.awaits(id) === is));
    const words = [];
    if (awaited.length > 0) words.push(`Not known yet: ${namesOf(awaited)}`);
    if (unlisted.length > 0) words.push(`Not listed by the exchange: ${namesOf(unlisted)}`);
    if (words.length > 0) this.#tell(words.join(". "));
  }

  /**
   * Those ids that there are or may be, at most MAX_WATCHED.
   * @param {readonly string[]} ids
   */
  #listed(ids) {
    return ids.filter((id) => this.#catalog.get(id) || this.#catalog.awaits(id)).slice(0, MAX_WATCHED);
  }

  /**
   * The instruments of those ids that there are, at most MAX_WATCHED.
   * @param {readonly string[]} ids
   */
  #known(ids) {
    return ids.map((id) => this.#catalog.get(id)).filter((one) => one !== undefined).slice(0, MAX_WATCHED);
  }
}

/** @param {readonly string[]} ids */
function namesOf(ids) {
  const names = ids.slice(0, MAX_NAMED).map((id) => id.replace(/^spot:/, ""));
  const others = ids.length > MAX_NAMED ? ` and ${ids.length - MAX_NAMED} more` : "";
  return `${names.join(", ")}${others}`;
}
