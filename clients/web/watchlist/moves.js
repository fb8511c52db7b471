/**
 * What the user does with rows: clicks, keys, and dragging a row to another place.
 * @module
 */

/**
 * What each action is about, by ids.
 * @typedef {object} Actions
 * @property {(id: string) => void} select
 * @property {(id: string) => void} remove
 * @property {(step: number) => void} walk selects the row so many further down; Infinity for the last
 * @property {(step: number) => void} shift moves the selected row so many further down
 * @property {(id: string, before: string | undefined) => void} place puts a row before another, or last
 */

/**
 * Listen to what is done with the rows of a table's body.
 * @param {HTMLElement} body whose rows have `data-id`
 * @param {Actions} actions
 */
export function listenToRows(body, actions) {
  body.addEventListener("click", ({ target }) => {
    const id = idAt(target);
    if (id === undefined) return;
    const isRemove = target instanceof Element && target.closest("[data-remove]") !== null;
    if (isRemove) actions.remove(id);
    else actions.select(id);
  });
  body.addEventListener("keydown", (event) => {
    const action = event.altKey ? shiftOf(event.key, actions) : stepOf(event.key, actions, idAt(event.target));
    if (!action || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    action();
  });
  listenToDrags(body, actions);
}

/**
 * @param {string} key
 * @param {Actions} actions
 * @param {string | undefined} id of the row that has the focus
 * @returns {(() => void) | undefined}
 */
function stepOf(key, { walk, remove }, id) {
  if (key === "ArrowDown") return () => walk(1);
  if (key === "ArrowUp") return () => walk(-1);
  if (key === "End") return () => walk(Number.POSITIVE_INFINITY);
  if (key === "Home") return () => walk(Number.NEGATIVE_INFINITY);
  return key === "Delete" && id !== undefined ? () => remove(id) : undefined;
}

/**
 * @param {string} key
 * @param {Actions} actions
 */
function shiftOf(key, { shift }) {
  if (key === "ArrowDown") return () => shift(1);
  return key === "ArrowUp" ? () => shift(-1) : undefined;
}

/**
 * @param {HTMLElement} body
 * @param {Actions} actions
 */
function listenToDrags(body, { place }) {
  /** @type {HTMLElement | null} */
  let dragged = null;
  body.addEventListener("dragstart", (event) => {
    dragged = rowAt(event.target);
    dragged?.setAttribute("data-dragged", "");
    // Firefox drags only what carries data.
    event.dataTransfer?.setData("text/plain", dragged?.dataset.symbol ?? "");
  });
  body.addEventListener("dragover", (event) => {
    const over = rowAt(event.target);
    if (!dragged || !over) return;
    event.preventDefault();
    if (over === dragged) return;
    const isBelow = Boolean(dragged.compareDocumentPosition(over) & Node.DOCUMENT_POSITION_FOLLOWING);
    body.insertBefore(dragged, isBelow ? over.nextElementSibling : over);
  });
  body.addEventListener("dragend", () => {
    if (!dragged?.dataset.id) return;
    dragged.removeAttribute("data-dragged");
    place(dragged.dataset.id, idAt(dragged.nextElementSibling));
    dragged = null;
  });
}

/** @param {EventTarget | null} target */
function rowAt(target) {
  return target instanceof Element ? /** @type {HTMLElement | null} */ (target.closest("tr[data-id]")) : null;
}

/** @param {EventTarget | null} target */
function idAt(target) {
  return rowAt(target)?.dataset.id;
}
