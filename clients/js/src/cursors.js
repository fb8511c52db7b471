/** How far a subscription has come in each stream, by which no message reaches it twice. Pure. */

/** The most streams that a server takes cursors of (`since`). */
export const MAX_CURSORS = 4096;
/** Older cursors that come this much later, in ms, are the exchange's ids begun anew: the server is silent for 3 s then. */
const NEW_EPOCH_MS = 2000;

/**
 * @typedef {object} Position
 * @property {number} cursor
 * @property {number} ts when the server received it, ms since the epoch
 * @property {unknown} data its payload; undefined where only its cursor is known
 */

/** The last message of each stream; of more than MAX_CURSORS streams the one seen first is forgotten. */
export class Cursors {
  /** @type {Map<string, Position>} */
  #last = new Map();

  /**
   * Take the place of a message that need not be shown: what comes up to it is no news.
   * @param {string} stream
   * @param {number} cursor
   * @param {number} ts
   */
  begin(stream, cursor, ts) {
    this.accepts({ stream, cursor, ts, data: undefined });
  }

  /**
   * Whether a message is news, which it is no more afterwards.
   *
   * Cursors never fall, but two messages may share one (the last of a candle and the first of the next).
   * @param {Position & {stream: string}} message
   */
  accepts({ stream, cursor, ts, data }) {
    const last = this.#last.get(stream);
    if (last && isKnown(last, cursor, ts, data)) return false;
    this.#last.set(stream, { cursor, ts, data });
    if (this.#last.size > MAX_CURSORS) this.#forgetFirst();
    return true;
  }

  /**
   * Forget a stream that begins anew, wherever that is.
   * @param {string} stream
   */
  forget(stream) {
    this.#last.delete(stream);
  }

  /** The last cursors by stream, as `subscribe` takes them; undefined while there are none. */
  get since() {
    if (this.#last.size === 0) return undefined;
    return Object.fromEntries([...this.#last].map(([stream, { cursor }]) => [stream, cursor]));
  }

  #forgetFirst() {
    for (const first of this.#last.keys()) {
      this.#last.delete(first);
      return;
    }
  }
}

/**
 * @param {Position} last
 * @param {number} cursor
 * @param {number} ts
 * @param {unknown} data
 */
function isKnown(last, cursor, ts, data) {
  if (cursor < last.cursor) return ts - last.ts < NEW_EPOCH_MS;
  if (cursor > last.cursor) return false;
  return last.data === undefined || data === undefined || JSON.stringify(last.data) === JSON.stringify(data);
}
