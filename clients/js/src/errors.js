/** @typedef {import("../types/index.d.ts").Refusal} Refusal */

/** A refusal of the server's, or a failure of the connection; `code` is one of docs/protocol.md's codes or ErrorCode's. */
export class TickcastError extends Error {
  /** @param {Refusal} refusal */
  constructor({ code, message, stream, suggestion, retryAfter }) {
    super(message);
    this.name = "TickcastError";
    this.code = code;
    /** @type {string | undefined} */
    this.stream = stream;
    /** @type {string | undefined} */
    this.suggestion = suggestion;
    /** @type {number | undefined} in s */
    this.retryAfter = retryAfter;
  }
}
