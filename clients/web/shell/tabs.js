/**
 * On a phone, one panel at a time: the tab bar, and which panel `main` shows (shell.css hides the others there).
 * @module
 */

/** @typedef {"chart" | "book" | "trades" | "watch"} Tab */

/** Chooses the panel that a phone shows. */
export class Tabs {
  #bar;
  #main;

  /**
   * @param {HTMLElement} bar with a button of `data-tab` for each panel
   * @param {HTMLElement} main whose `data-tab` says which one is shown
   */
  constructor(bar, main) {
    this.#bar = bar;
    this.#main = main;
    this.show("chart");
    bar.addEventListener("click", ({ target }) => {
      const tab = target instanceof HTMLElement ? target.dataset.tab : undefined;
      if (tab) this.show(/** @type {Tab} */ (tab));
    });
  }

  /** @param {Tab} tab */
  show(tab) {
    this.#main.dataset.tab = tab;
    for (const button of this.#bar.querySelectorAll("button")) {
      button.toggleAttribute("aria-current", false);
      if (button.dataset.tab === tab) button.setAttribute("aria-current", "true");
    }
  }
}
