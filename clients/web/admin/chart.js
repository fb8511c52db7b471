/**
 * One figure over the last minutes: its name, what it is now, and its line.
 * @module
 */

import { setText } from "../common/dom.js";
import { formatAge } from "../common/format.js";
import { HEIGHT, Series, WIDTH } from "./series.js";

const SVG = "http://www.w3.org/2000/svg";
const WINDOW_MS = 300_000;
const CAPACITY = 300;

/** A card with a line. */
export class Chart {
  #series = new Series(WINDOW_MS, CAPACITY);
  #value = document.createElement("strong");
  #range = document.createElement("span");
  #image = document.createElementNS(SVG, "svg");
  #line = document.createElementNS(SVG, "polyline");
  #title;
  #format;

  /**
   * @param {HTMLElement} parent
   * @param {string} title
   * @param {(value: number) => string} format
   */
  constructor(parent, title, format) {
    this.#title = title;
    this.#format = format;
    const heading = document.createElement("h3");
    heading.textContent = title;
    this.#image.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    this.#image.setAttribute("preserveAspectRatio", "none");
    this.#image.setAttribute("role", "img");
    this.#image.append(this.#line);
    const card = document.createElement("section");
    card.className = "card";
    card.append(heading, this.#value, this.#image, this.#range);
    parent.append(card);
  }

  /**
   * @param {number} value
   * @param {number} at ms
   */
  note(value, at) {
    this.#series.note(value, at);
  }

  draw() {
    const [low, high] = [this.#series.lowest, this.#series.highest].map(this.#format);
    const range = `${low} to ${high} in ${formatAge(this.#series.spanMs)}`;
    setText(this.#value, this.#format(this.#series.last));
    setText(this.#range, range);
    this.#line.setAttribute("points", this.#series.line);
    this.#image.setAttribute("aria-label", `${this.#title}: ${range}`);
  }
}
