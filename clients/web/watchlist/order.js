/**
 * The order of the watchlist's rows. Pure.
 * @module
 */

/** @typedef {"symbol" | "price" | "change"} Column */
/** @typedef {{column: Column, isDescending: boolean}} Sort */
/** @typedef {{id: string, symbol: string, last: number, changePercent: number}} Sortable figures are NaN while unknown */

/**
 * What a click on a column's head sorts by: figures from the top, names from the beginning, then the other way round,
 * then not at all.
 * @param {Sort | null} sort in force
 * @param {Column} column
 * @returns {Sort | null} null for the user's own order
 */
export function nextSort(sort, column) {
  const isDescendingFirst = column !== "symbol";
  if (sort?.column !== column) return { column, isDescending: isDescendingFirst };
  return sort.isDescending === isDescendingFirst ? { column, isDescending: !isDescendingFirst } : null;
}

/**
 * The ids in the order of `sort`; what has no figure yet comes last, equals keep their order.
 * @param {readonly Sortable[]} rows in the user's own order
 * @param {Sort | null} sort
 * @returns {string[]}
 */
export function sortedIds(rows, sort) {
  if (!sort) return rows.map(({ id }) => id);
  const { column, isDescending } = sort;
  const sign = isDescending ? -1 : 1;
  const byName = (/** @type {Sortable} */ a, /** @type {Sortable} */ b) => sign * Number(a.symbol > b.symbol || -(a.symbol < b.symbol));
  const key = column === "price" ? "last" : "changePercent";
  const byFigure = (/** @type {Sortable} */ a, /** @type {Sortable} */ b) =>
    Number(Number.isNaN(a[key])) - Number(Number.isNaN(b[key])) || sign * (a[key] - b[key] || 0);
  return [...rows].sort(column === "symbol" ? byName : byFigure).map(({ id }) => id);
}

/**
 * `ids` with one of them put before another, or last.
 * @param {readonly string[]} ids
 * @param {string} id
 * @param {string | undefined} before
 * @returns {string[]}
 */
export function moved(ids, id, before) {
  if (id === before) return [...ids];
  const others = ids.filter((one) => one !== id);
  const at = before === undefined ? -1 : others.indexOf(before);
  return others.toSpliced(at < 0 ? others.length : at, 0, id);
}

/**
 * `shown` with what a list has besides, put back behind what it followed there.
 * @param {readonly string[]} shown ids, in whatever order the user has put them
 * @param {readonly string[]} list ids
 * @param {(id: string) => boolean} isAwaited whether one is not shown yet, though it is listed
 * @returns {string[]}
 */
export function withAwaited(shown, list, isAwaited) {
  const ids = [...shown];
  for (const [at, id] of list.entries()) {
    if (!isAwaited(id)) continue;
    const previous = list.slice(0, at).findLast((one) => ids.includes(one));
    ids.splice(previous === undefined ? 0 : ids.indexOf(previous) + 1, 0, id);
  }
  return ids;
}
