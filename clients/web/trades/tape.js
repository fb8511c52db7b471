/**
 * A list of what happened, the latest first, that moves on unless somebody reads it.
 * @module
 */

import { find, setText } from "../common/dom.js";
import { formatPrice } from "../common/format.js";
import { oncePerFrame } from "../common/frames.js";
import { formatSize } from "../common/sizes.js";
import { formatInstant, formatTime } from "../common/times.js";
import { Backlog } from "./backlog.js";

/** @typedef {import("./payloads.js").Fill} Fill */
/** @typedef {{price: number, size: number}} Decimals digits after the point */
/** @typedef {{gap: string}} GapLine words in the place of what is missing */
/** @typedef {Fill | GapLine} Entry */

/** Rows kept. */
export const TAPE_LENGTH = 100;

const PILL_COUNT_MAX = 9999;

/** Rows that are written anew and moved to the top, never more than `TAPE_LENGTH`. */
export class Tape {
  /** @type {Backlog<Entry>} */
  #backlog = new Backlog(TAPE_LENGTH);
  /** Latest first. @type {Row[]} */
  #rows = [];
  /** @type {Decimals} */
  #decimals = { price: 0, size: 0 };
  #isHovered = false;
  #isFocused = false;
  #box;
  #list;
  #pill;
  #note;
  #templates;
  #drawSoon = oncePerFrame(() => this.#draw());

  /**
   * @param {HTMLElement} root
   * @param {{fill: HTMLTemplateElement, gap: HTMLTemplateElement}} templates of the two kinds of rows
   */
  constructor(root, templates) {
    this.#box = find(root, "[data-tape=box]");
    this.#list = find(root, "[data-tape=rows]");
    this.#pill = find(root, "[data-tape=new]");
    this.#note = find(root, "[data-tape=note]");
    this.#templates = templates;
    this.#listen(root);
  }

  /** Whether nothing is shown or about to be. */
  get isEmpty() {
    return this.#rows.length === 0 && this.#backlog.size === 0;
  }

  /**
   * Begin anew.
   * @param {Decimals} decimals
   */
  reset(decimals) {
    this.#decimals = decimals;
    this.#backlog.drain();
    this.#rows = [];
    this.#list.replaceChildren();
    this.#box.scrollTop = 0;
    this.#drawSoon();
  }

  /** @param {Entry} entry the latest */
  push(entry) {
    this.#backlog.push(entry);
    this.#drawSoon();
  }

  /**
   * What happened before everything here.
   * @param {Fill[]} fills oldest first
   */
  append(fills) {
    // What is yet to be drawn comes above: draw it, though somebody reads.
    this.#drawBacklog();
    for (const fill of fills.slice(-TAPE_LENGTH).reverse()) {
      if (this.#rows.length >= TAPE_LENGTH) return;
      const row = this.#newRow(fill);
      this.#rows.push(row);
      this.#list.append(row.element);
    }
  }

  /** @param {string} words in the place of rows; none to take them away */
  say(words) {
    setText(this.#note, words);
  }

  /** @param {HTMLElement} root */
  #listen(root) {
    const box = this.#box;
    // Of the root, as the pill may appear under the pointer.
    root.addEventListener("pointerenter", ({ pointerType }) => {
      this.#isHovered = pointerType === "mouse";
    });
    root.addEventListener("pointerleave", () => {
      this.#isHovered = false;
      this.#drawSoon();
    });
    box.addEventListener("focus", () => {
      this.#isFocused = box.matches(":focus-visible");
    });
    box.addEventListener("blur", () => {
      this.#isFocused = false;
      this.#drawSoon();
    });
    box.addEventListener("scroll", () => this.#drawSoon());
    box.addEventListener("pointerover", ({ target }) => {
      const element = target instanceof Element ? target.closest(".tape-row") : null;
      this.#rows.find((row) => row.element === element)?.explain();
    });
    this.#pill.addEventListener("click", () => {
      this.#drawBacklog();
      box.scrollTop = 0;
      this.#drawSoon();
    });
  }

  #draw() {
    // Asked of the box, as no event tells that one was scrolled back which is hidden or was emptied.
    const isRead = this.#isHovered || this.#isFocused || this.#box.scrollTop > 0;
    if (!isRead || this.#rows.length === 0) this.#drawBacklog();
    const { size } = this.#backlog;
    this.#pill.hidden = size === 0;
    setText(this.#pill, size > PILL_COUNT_MAX ? `${PILL_COUNT_MAX}+ new` : `${size} new`);
  }

  #drawBacklog() {
    for (const entry of this.#backlog.drain()) {
      const row = this.#reusable(entry) ?? this.#newRow(entry);
      row.write(entry, this.#decimals);
      this.#rows.unshift(row);
      this.#list.prepend(row.element);
    }
    if (this.#rows.length > 0) this.say("");
  }

  /**
   * The oldest row, where there are enough of them and it is of the right kind.
   * @param {Entry} entry
   */
  #reusable(entry) {
    if (this.#rows.length < TAPE_LENGTH) return undefined;
    const oldest = this.#rows.pop();
    if (oldest?.isGap === "gap" in entry) return oldest;
    oldest?.element.remove();
    return undefined;
  }

  /** @param {Entry} entry */
  #newRow(entry) {
    const template = "gap" in entry ? this.#templates.gap : this.#templates.fill;
    const row = new Row(find(document.importNode(template.content, true), ".tape-row"), "gap" in entry);
    row.write(entry, this.#decimals);
    return row;
  }
}

/** One row of either kind. */
class Row {
  #cells;
  #timeMs = 0;

  /**
   * @param {HTMLElement} element
   * @param {boolean} isGap
   */
  constructor(element, isGap) {
    this.element = element;
    this.isGap = isGap;
    const names = isGap ? ["gap"] : ["arrow", "price", "size", "time"];
    this.#cells = Object.fromEntries(names.map((name) => [name, find(element, `[data-tape=${name}]`)]));
  }

  /**
   * @param {Entry} entry
   * @param {Decimals} decimals
   */
  write(entry, decimals) {
    if ("gap" in entry) {
      setText(this.#cells.gap, entry.gap);
      return;
    }
    const { arrow, price, size, time } = this.#cells;
    this.element.dataset.direction = entry.isBuy ? "up" : "down";
    this.#timeMs = entry.timeMs;
    setText(arrow, entry.isBuy ? "▲" : "▼");
    arrow.ariaLabel = entry.isBuy ? "bought" : "sold";
    setText(price, formatPrice(entry.price, decimals.price));
    setText(size, formatSize(entry.size, decimals.size));
    setText(time, formatTime(entry.timeMs));
    if (time.title) time.title = "";
  }

  /** Tell the time to the millisecond. */
  explain() {
    if (!this.isGap) this.#cells.time.title = formatInstant(this.#timeMs);
  }
}
