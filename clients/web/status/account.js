/**
 * Who the user is to the server: nothing is seen of it where the server asks for no credentials.
 * @module
 */

import { Credentials } from "../common/credentials.js";
import { find } from "../common/dom.js";
import { Login } from "./login.js";

/** @typedef {import("../../js/types/index.js").ConnectOptions} ConnectOptions */

/** Credentials, the dialog that asks for them, and the button by which the user shows others. */
export class Account {
  #login;
  #key;

  /**
   * @param {HTMLDialogElement} dialog
   * @param {HTMLElement} key shown while there are credentials
   */
  constructor(dialog, key) {
    this.#login = new Login(dialog);
    this.#key = key;
    this.credentials = new Credentials(async (refusal, refused) => {
      const given = await this.#login.ask(refusal, refused);
      this.#key.hidden = false;
      return given;
    });
    key.hidden = !this.credentials.token;
    find(dialog, "[data-login=forget]").addEventListener("click", () => {
      this.credentials.forget();
      location.reload();
    });
  }

  /** @returns {ConnectOptions} of the client that shows these credentials */
  get options() {
    return {
      token: () => this.credentials.token,
      renewToken: (refusal, refused) => this.credentials.renew(refused ?? "", refusal),
    };
  }

  /** Why the server does not let us in, or `""`. */
  get reason() {
    return this.credentials.isAsking ? "not let in" : "";
  }

  /**
   * Let the user replace what is shown, before it ends.
   * @param {(token: string) => Promise<unknown>} use rejects with an Error that says why a token is no good
   */
  onChange(use) {
    this.#key.addEventListener("click", () => {
      this.#login.change(async (given) => {
        await use(given.token);
        this.credentials.take(given);
      });
    });
  }
}
