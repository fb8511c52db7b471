/**
 * How long nothing could reach the page. Pure.
 * @module
 */

/** @typedef {import("../../js/types/index.js").ClientState} ClientState */

/** Watches the connection and the exchange's feed. */
export class Absence {
  /** @type {number | null} */
  #sinceMs = null;
  #isOver = false;

  /**
   * @param {Pick<ClientState, "connection" | "exchange">} state
   * @param {number} nowMs
   */
  note({ connection, exchange }, nowMs) {
    if (connection === "disconnected" || exchange === "disconnected") {
      this.#sinceMs ??= nowMs;
      this.#isOver = false;
    } else if (connection === "connected" && exchange === "connected") {
      this.#isOver = true;
    }
  }

  /**
   * Everything that was missed is here: how long we were away, in ms, told once; null if we were not, or still are.
   * @param {number} nowMs
   * @returns {number | null}
   */
  end(nowMs) {
    if (this.#sinceMs === null || !this.#isOver) return null;
    const awayMs = nowMs - this.#sinceMs;
    this.#sinceMs = null;
    return awayMs;
  }
}
