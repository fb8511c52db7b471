/**
 * The header: lights for the connection and the exchange, the replica's name, the mark of made-up data.
 * @module
 */

import { find, setText } from "../common/dom.js";
import { oncePerFrame } from "../common/frames.js";
import { connectionLight, exchangeLight, markOf } from "./lights.js";

/** @typedef {import("../../js/types/index.js").Client} Client */
/** @typedef {import("../../js/types/index.js").ClientState} ClientState */
/** @typedef {import("../shell/notice.js").Notice} Notice */
/** @typedef {import("./lights.js").Light} Light */

const AGE_EVERY_MS = 1000;
const MARK_HINTS = new Map([
  ["simulated", "These prices are made up by a simulated exchange."],
  ["replay", "These prices are a recording, not the market of this moment."],
]);

/** Shows the feed's state in the header, and says when another replica has taken over. */
export class StatusBar {
  #root;
  #notice;
  #reason;
  #silence;
  /** @type {ClientState} */
  #state;
  /** The code of what the server said last before it let us in no more. */
  #refusal = "";
  /** When connection and exchange came into their states, of `performance.now()`. */
  #since = { connection: 0, exchange: 0 };
  #render = oncePerFrame(() => this.#draw());

  /**
   * @param {HTMLElement} root
   * @param {Client} client
   * @param {Notice} notice
   * @param {() => string} reason why the server does not let us in, or `""`
   * @param {() => number} silence how long ago the exchange last spoke, ms
   */
  constructor(root, client, notice, reason, silence) {
    this.#root = root;
    this.#notice = notice;
    this.#reason = reason;
    this.#silence = silence;
    this.#state = client.state;
    client.on("status", (state) => this.#take(state));
    client.on("error", ({ code }) => {
      this.#refusal = code;
      this.#render();
    });
    client.on("draining", ({ delayMs, replica }) => {
      notice.show(`${replica} is being replaced: we move to another one in ${Math.ceil(delayMs / 1000)} s`);
    });
    setInterval(() => {
      if (!document.hidden) this.#render();
    }, AGE_EVERY_MS);
    this.#render();
  }

  /** @param {ClientState} state */
  #take(state) {
    const before = this.#state;
    this.#state = state;
    const now = performance.now();
    if (state.connection !== before.connection) this.#since.connection = now;
    if (state.exchange !== before.exchange) this.#since.exchange = now;
    if (before.replica && state.replica !== before.replica) {
      this.#notice.show(`Moved from ${before.replica} to ${state.replica}`);
    }
    this.#render();
  }

  #draw() {
    const { connection, exchange, source, replica } = this.#state;
    const now = performance.now();
    const reason = this.#reason() || (connection === "closed" ? `closed: ${this.#refusal.replaceAll("_", " ")}` : "");
    this.#light("connection", connectionLight(connection, now - this.#since.connection, reason));
    this.#light("exchange", exchangeLight(exchange, now - this.#since.exchange, this.#silence()));
    const mark = find(this.#root, "[data-mark]");
    setText(mark, markOf(source));
    mark.title = MARK_HINTS.get(source) ?? "";
    mark.hidden = !markOf(source);
    const badge = find(this.#root, "[data-replica]");
    setText(badge, replica);
    badge.title = replica && `Served by replica ${replica}`;
  }

  /**
   * @param {string} name
   * @param {Light} light
   */
  #light(name, { state, words, age }) {
    const element = find(this.#root, `[data-light=${name}]`);
    element.dataset.state = state;
    setText(find(element, "[data-words]"), words);
    setText(find(element, "[data-age]"), age);
  }
}
