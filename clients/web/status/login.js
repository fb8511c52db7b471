/**
 * The dialog that asks for a token or an API key.
 * @module
 */

import { find, setText } from "../common/dom.js";

/** @typedef {import("../../js/types/index.js").Refusal} Refusal */
/** @typedef {import("../common/credentials.js").Given} Given */
/** @typedef {(given: Given) => Promise<void>} Use rejects with an Error that says why it is no good */

/** Asks for credentials: because the server wants them, or because the user wants to show others. */
export class Login {
  #dialog;
  #form;
  #input;
  /** @type {Use} */
  #use = async () => {};
  #isNeeded = false;

  /** @param {HTMLDialogElement} dialog */
  constructor(dialog) {
    this.#dialog = dialog;
    this.#form = /** @type {HTMLFormElement} */ (find(dialog, "form"));
    this.#input = /** @type {HTMLInputElement} */ (find(dialog, "[data-login=token]"));
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#submit();
    });
    find(dialog, "[data-login=cancel]").addEventListener("click", () => this.#dialog.close());
    dialog.addEventListener("cancel", (event) => {
      if (this.#isNeeded) event.preventDefault(); // nothing would be left to see
    });
    dialog.addEventListener("close", () => {
      // Chromium lets nobody prevent that a second Escape closes it.
      if (this.#isNeeded && !dialog.open) dialog.showModal();
      else this.#form.reset();
    });
  }

  /**
   * Ask until something is given: the server lets nobody in without.
   * @param {Refusal} refusal
   * @param {string} refused what was shown, or empty
   * @returns {Promise<Given>}
   */
  ask(refusal, refused) {
    return new Promise((resolve) => {
      this.#open("Credentials", refused ? reasonOf(refusal) : "", true, async (given) => resolve(given));
    });
  }

  /**
   * Let the user show others.
   * @param {Use} use
   */
  change(use) {
    this.#open("Other credentials", "", false, use);
  }

  /**
   * @param {string} title
   * @param {string} error
   * @param {boolean} isNeeded
   * @param {Use} use
   */
  #open(title, error, isNeeded, use) {
    this.#use = use;
    this.#isNeeded = isNeeded;
    setText(find(this.#dialog, "[data-login=title]"), title);
    this.#showError(error);
    for (const name of ["cancel", "forget"]) find(this.#dialog, `[data-login=${name}]`).hidden = isNeeded;
    // One that the user has opened gives way to one that the server needs.
    if (this.#dialog.open) this.#dialog.close();
    this.#dialog.showModal();
  }

  async #submit() {
    const keep = /** @type {HTMLInputElement} */ (find(this.#dialog, "[data-login=keep]")).checked;
    const token = this.#input.value.trim();
    if (!token) return;
    const use = this.#use;
    try {
      await use({ token, keep });
    } catch (error) {
      if (use === this.#use) this.#showError(error instanceof Error ? error.message : String(error));
      return;
    }
    // Meanwhile the server may have asked, which this does not answer.
    if (use !== this.#use) return;
    this.#isNeeded = false;
    this.#dialog.close();
  }

  /** @param {string} text */
  #showError(text) {
    const error = find(this.#dialog, "[data-login=error]");
    setText(error, text);
    error.hidden = !text;
    this.#input.setAttribute("aria-invalid", String(text !== ""));
  }
}

/**
 * Why credentials are refused, in words.
 * @param {Refusal} refusal
 * @returns {string}
 */
function reasonOf({ code, message }) {
  return code === "token_expired" ? "Your token has ended. Show another one." : `Refused: ${message}`;
}
