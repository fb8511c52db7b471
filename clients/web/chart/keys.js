/**
 * The chart by keyboard.
 * @module
 */

/** @typedef {import("./chart.js").Chart} Chart */

const PAN_SHARE = 0.1;
const ZOOM_FACTOR = 1.25;

/** @type {Map<string, (chart: Chart) => void>} */
const ACTIONS = new Map([
  ["ArrowLeft", (chart) => chart.pan(-PAN_SHARE)],
  ["ArrowRight", (chart) => chart.pan(PAN_SHARE)],
  ["+", (chart) => chart.zoom(1 / ZOOM_FACTOR)],
  ["=", (chart) => chart.zoom(1 / ZOOM_FACTOR)],
  ["-", (chart) => chart.zoom(ZOOM_FACTOR)],
  ["Home", (chart) => chart.showOldest()],
  ["End", (chart) => chart.showLatest()],
]);

/**
 * While `element` has the focus: arrows move through time, plus and minus zoom, Home and End go to the ends.
 * @param {HTMLElement} element
 * @param {Chart} chart
 */
export function listenToKeys(element, chart) {
  element.addEventListener("keydown", (event) => {
    const action = ACTIONS.get(event.key);
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    // What the keys mean to the page, they do not mean here.
    event.preventDefault();
    event.stopPropagation();
    action(chart);
  });
}
