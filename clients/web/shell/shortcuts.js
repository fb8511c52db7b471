/**
 * Keys that work anywhere on the page, except where somebody types.
 * @module
 */

/** Elements that have their own use for keys. */
const TYPING = "input, textarea, select, [contenteditable], [role=listbox], dialog";

/**
 * Call the action of a key that is pressed by itself.
 * @param {(key: string) => (() => void) | undefined} actionOf of `event.key`; letters come in lower case
 */
export function listenToShortcuts(actionOf) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target instanceof Element && event.target.closest(TYPING)) return;
    const action = actionOf(event.key.toLowerCase());
    if (!action) return;
    event.preventDefault();
    action();
  });
}

/**
 * Let a dialog close by a click beside it, as Escape does by itself.
 * @param {HTMLDialogElement} dialog
 */
export function closeByClickBeside(dialog) {
  dialog.addEventListener("click", (event) => {
    // The dialog's own padding is 0: what is hit within it is one of its children.
    if (event.target === dialog) dialog.close();
  });
}
