/**
 * Drawing of a sparkline, and its colours.
 * @module
 */

import { SPARK_MINUTES } from "./spark-series.js";

/** @typedef {import("./spark-series.js").Point} Point */
/** @typedef {import("../common/format.js").Direction} Direction */

/** In CSS pixels, as watchlist.css has it: reading it from the page would cost a layout. */
const [WIDTH, HEIGHT] = [56, 24];
const LINE_PX = 1.25;
/** Room for half a line, and for the end that is drawn thicker. */
const MARGIN_PX = 2;

/**
 * The colours of rising, falling and resting lines in the theme in force.
 * @returns {Record<Direction, string>}
 */
export function readPalette() {
  const style = getComputedStyle(document.documentElement);
  const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
  return { up: colour("--up"), down: colour("--down"), flat: colour("--muted") };
}

/**
 * Draw `points` over the hour that ends with the last one; fewer than two are no line.
 * @param {HTMLCanvasElement} canvas
 * @param {readonly Point[]} points oldest first
 * @param {string} colour
 */
export function drawSparkline(canvas, points, colour) {
  const scale = devicePixelRatio;
  const width = Math.round(WIDTH * scale);
  const context = canvas.getContext("2d");
  if (!context) return;
  if (canvas.width !== width) {
    canvas.width = width;
    canvas.height = Math.round(HEIGHT * scale);
  }
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, WIDTH, HEIGHT);
  if (points.length < 2) return;
  const closes = points.map(({ close }) => close);
  const [lowest, highest] = [Math.min(...closes), Math.max(...closes)];
  const perUnit = highest > lowest ? (HEIGHT - 2 * MARGIN_PX) / (highest - lowest) : 0;
  const start = points[points.length - 1].minute - SPARK_MINUTES + 1;
  const perMinute = (WIDTH - 2 * MARGIN_PX) / (SPARK_MINUTES - 1);
  context.beginPath();
  for (const { minute, close } of points) {
    const y = perUnit ? HEIGHT - MARGIN_PX - (close - lowest) * perUnit : HEIGHT / 2;
    context.lineTo(MARGIN_PX + (minute - start) * perMinute, y);
  }
  context.strokeStyle = colour;
  context.lineWidth = LINE_PX;
  context.lineJoin = "round";
  context.stroke();
}
