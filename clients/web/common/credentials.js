/**
 * The user's token or API key: kept in memory, and in this tab's own storage where the user wants that.
 * @module
 */

/** @typedef {import("../../js/types/index.js").Refusal} Refusal */
/** @typedef {{token: string, keep: boolean}} Given */

const KEY = "tickcast.token";

/** What this page shows the server, and asks its user for when the server refuses it. */
export class Credentials {
  #token = "";
  /** @type {Promise<string> | undefined} */
  #asking;
  #ask;

  /** @param {(refusal: Refusal, refused: string) => Promise<Given>} ask what the user gives */
  constructor(ask) {
    this.#ask = ask;
    try {
      this.#token = sessionStorage.getItem(KEY) ?? "";
    } catch (error) {
      console.warn("This browser keeps no credentials.", error);
    }
  }

  /** Empty where there is none. */
  get token() {
    return this.#token;
  }

  /** Whether the user is being asked. */
  get isAsking() {
    return this.#asking !== undefined;
  }

  /** @returns {Record<string, string>} of requests over HTTP: docs/auth.md */
  get headers() {
    return this.#token ? { Authorization: `Bearer ${this.#token}` } : {};
  }

  /**
   * Another token than the one that was refused; whoever asks meanwhile gets the same.
   * @param {string} refused
   * @param {Refusal} refusal
   * @returns {Promise<string>}
   */
  renew(refused, refusal) {
    if (this.#token !== refused) return Promise.resolve(this.#token);
    this.#asking ??= this.#ask(refusal, refused)
      .then((given) => {
        this.take(given);
        return this.#token;
      })
      .finally(() => {
        this.#asking = undefined;
      });
    return this.#asking;
  }

  /** @param {Given} given */
  take({ token, keep }) {
    this.#token = token;
    try {
      if (keep) sessionStorage.setItem(KEY, token);
      else sessionStorage.removeItem(KEY);
    } catch (error) {
      console.warn("This browser keeps no credentials.", error);
    }
  }

  forget() {
    this.take({ token: "", keep: false });
  }
}
