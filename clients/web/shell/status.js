/**
 * The header: lights for the connection and the exchange, the replica's name, the mark of made-up data.
 * @module
 */

import { find, setText } from "../common/dom.js";

/** @typedef {import("../../js/types/index.js").ClientState} ClientState */

const CONNECTION_WORDS = { connecting: "connecting", connected: "connected", disconnected: "lost, retrying", closed: "closed" };
const EXCHANGE_WORDS = { unknown: "unknown", connected: "connected", disconnected: "down" };
const MARK_HINTS = new Map([
  ["simulated", "These prices are made up by a simulated exchange."],
  ["replay", "These prices are a recording, not the market of this moment."],
]);

/**
 * The mark of data that is not the real market's, or `""` for Binance and while the source is unknown.
 * @param {string} source
 * @returns {string}
 */
export function markOf(source) {
  return source === "binance" ? "" : source.toUpperCase();
}

/** Shows the feed's state in the header. */
export class StatusBar {
  #connection;
  #exchange;
  #mark;
  #replica;

  /** @param {HTMLElement} root */
  constructor(root) {
    this.#connection = find(root, "[data-light=connection]");
    this.#exchange = find(root, "[data-light=exchange]");
    this.#mark = find(root, "[data-mark]");
    this.#replica = find(root, "[data-replica]");
  }

  /** @param {ClientState} state */
  show({ connection, exchange, source, replica }) {
    setLight(this.#connection, connection, CONNECTION_WORDS[connection]);
    setLight(this.#exchange, exchange, EXCHANGE_WORDS[exchange]);
    this.#mark.textContent = markOf(source);
    this.#mark.title = MARK_HINTS.get(source) ?? "";
    this.#mark.hidden = !markOf(source);
    this.#replica.textContent = replica;
    this.#replica.title = replica && `Served by replica ${replica}`;
  }
}

/**
 * @param {HTMLElement} light
 * @param {string} state
 * @param {string} words
 */
function setLight(light, state, words) {
  light.dataset.state = state;
  setText(find(light, "[data-words]"), words);
}
