/**
 * A table whose rows come, go and change in place.
 * @module
 */

import { setText } from "../common/dom.js";

/**
 * @template Row
 * @typedef {import("./columns.js").Column<Row>} Column
 */

/**
 * Keeps a `<table>` equal to a list; the first column is the row's name.
 * @template Row
 */
export class Table {
  /** @type {Map<string, HTMLTableRowElement>} */
  #rows = new Map();
  #columns;
  #body;

  /**
   * @param {HTMLTableElement} table empty
   * @param {Column<Row>[]} columns
   */
  constructor(table, columns) {
    this.#columns = columns;
    const head = table.createTHead().insertRow();
    for (const { head: text, hint } of columns) {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.textContent = text;
      if (hint) cell.title = hint;
      head.append(cell);
    }
    this.#body = table.createTBody();
  }

  /**
   * @param {Row[]} rows
   * @param {(row: Row) => string} [stateOf] by which a row is coloured
   */
  show(rows, stateOf) {
    const [name] = this.#columns;
    const wanted = new Set(rows.map(name.text));
    for (const [key, element] of this.#rows) {
      if (wanted.has(key)) continue;
      element.remove();
      this.#rows.delete(key);
    }
    for (const [at, row] of rows.entries()) {
      const element = this.#rows.get(name.text(row)) ?? this.#add(name.text(row));
      // In its place already, mostly: moving it would cost a layout.
      if (this.#body.rows[at] !== element) this.#body.insertBefore(element, this.#body.rows[at] ?? null);
      if (stateOf) element.dataset.state = stateOf(row);
      for (const [column, { text }] of this.#columns.entries()) setText(element.cells[column], text(row));
    }
  }

  /** @param {string} key */
  #add(key) {
    const element = document.createElement("tr");
    for (const column of this.#columns.keys()) {
      const cell = document.createElement(column === 0 ? "th" : "td");
      if (column === 0) cell.setAttribute("scope", "row");
      element.append(cell);
    }
    this.#rows.set(key, element);
    return element;
  }
}
