/**
 * Drawing of candles and volume with lightweight-charts. Knows nothing of where candles come from.
 * @module
 */

import { formatPrice } from "../common/format.js";
import {
  CandlestickSeries,
  ColorType,
  CrosshairMode,
  HistogramSeries,
  createChart,
  createTextWatermark,
} from "../vendor/lightweight-charts.js";

/** @typedef {import("../common/payloads.js").Candle} Candle */

const VISIBLE_CANDLES_PER_PX = 1 / 8;
const ROOM_ON_THE_RIGHT = 4;
const MIN_CANDLES_SHOWN = 30;
const VOLUME_SHARE = 0.18;
/** Half the height of a price on the scale: nearer to the edge it would be cut. */
const LABEL_ROOM_PX = 8;

/**
 * Events: `hover` (CustomEvent of the openMs of the candle under the pointer, or null).
 */
export class Chart extends EventTarget {
  #element;
  #chart;
  #candles;
  #volumes;
  #watermark;
  #watermarkText = "";
  /** Time of the last candle drawn; -Infinity where none is. */
  #lastMs = Number.NEGATIVE_INFINITY;

  /** @param {HTMLElement} element that the chart fills */
  constructor(element) {
    super();
    this.#element = element;
    this.#chart = createChart(element, {
      autoSize: true,
      crosshair: { mode: CrosshairMode.Normal },
      rightPriceScale: { borderVisible: false, scaleMargins: { top: 0.08, bottom: VOLUME_SHARE + 0.06 } },
      timeScale: { borderVisible: false, timeVisible: true, secondsVisible: false, rightOffset: ROOM_ON_THE_RIGHT },
      // The page scrolls vertically by touch; the chart pans sideways and zooms by pinch.
      handleScroll: { vertTouchDrag: false },
    });
    this.#volumes = this.#chart.addSeries(HistogramSeries, {
      priceScaleId: "volume",
      priceFormat: { type: "volume" },
      lastValueVisible: false,
      priceLineVisible: false,
    });
    this.#volumes.priceScale().applyOptions({ scaleMargins: { top: 1 - VOLUME_SHARE, bottom: 0 } });
    this.#candles = this.#chart.addSeries(CandlestickSeries, { borderVisible: false });
    this.#watermark = createTextWatermark(this.#chart.panes()[0], { lines: [] });
    this.#applyTheme();
    document.documentElement.addEventListener("themechange", () => this.#applyTheme());
    this.#chart.subscribeCrosshairMove(({ time }) => {
      const openMs = typeof time === "number" ? time * 1000 : null;
      this.dispatchEvent(new CustomEvent("hover", { detail: openMs }));
    });
  }

  /**
   * Start empty, with prices of `decimals` digits after the point.
   * @param {number} decimals
   */
  clear(decimals) {
    const formatter = (/** @type {number} */ price) => formatPrice(price, decimals);
    const tickmarksFormatter = (/** @type {readonly number[]} */ prices) =>
      prices.map((price) => (this.#isAtEdge(price) ? "" : formatter(price)));
    this.#candles.applyOptions({
      priceFormat: { type: "custom", minMove: 10 ** -decimals, formatter, tickmarksFormatter },
    });
    this.setCandles([]);
  }

  /**
   * Draw exactly these candles; what was in view stays in view, an empty chart shows the latest ones.
   * @param {readonly Candle[]} candles oldest first
   */
  setCandles(candles) {
    const wasEmpty = this.#lastMs === Number.NEGATIVE_INFINITY;
    const theme = readTheme(this.#element);
    this.#candles.setData(candles.map(barOf));
    this.#volumes.setData(candles.map((candle) => volumeOf(candle, theme)));
    this.#lastMs = candles.at(-1)?.openMs ?? Number.NEGATIVE_INFINITY;
    if (wasEmpty && candles.length > 0) this.#showLatest(candles.length);
  }

  /**
   * Draw one candle anew, or add the next one.
   * @param {Candle} candle
   */
  update(candle) {
    const isEarlier = candle.openMs < this.#lastMs;
    this.#candles.update(barOf(candle), isEarlier);
    this.#volumes.update(volumeOf(candle, readTheme(this.#element)), isEarlier);
    this.#lastMs = Math.max(this.#lastMs, candle.openMs);
  }

  /**
   * Write `text` behind the candles, so that a picture of the chart carries it.
   * @param {string} text
   */
  setWatermark(text) {
    this.#watermarkText = text;
    const lines = text ? [{ text, color: readTheme(this.#element).watermark, fontSize: 40, fontStyle: "600" }] : [];
    this.#watermark.applyOptions({ lines });
  }

  /** @param {number} price */
  #isAtEdge(price) {
    const y = this.#candles.priceToCoordinate(price);
    const height = this.#chart.panes()[0].getHeight();
    return y !== null && (y < LABEL_ROOM_PX || y > height - LABEL_ROOM_PX);
  }

  /** @param {number} count candles there are */
  #showLatest(count) {
    const shown = Math.max(MIN_CANDLES_SHOWN, Math.round(this.#element.clientWidth * VISIBLE_CANDLES_PER_PX));
    this.#chart.timeScale().setVisibleLogicalRange({ from: count - shown, to: count + ROOM_ON_THE_RIGHT });
  }

  #applyTheme() {
    const theme = readTheme(this.#element);
    this.#chart.applyOptions({
      layout: {
        background: { type: ColorType.Solid, color: theme.surface },
        textColor: theme.muted,
        fontFamily: theme.font,
        fontSize: 11,
      },
      grid: { vertLines: { color: theme.grid }, horzLines: { color: theme.grid } },
      crosshair: {
        vertLine: { color: theme.muted, labelBackgroundColor: theme.label },
        horzLine: { color: theme.muted, labelBackgroundColor: theme.label },
      },
    });
    this.#candles.applyOptions({
      upColor: theme.up,
      downColor: theme.down,
      wickUpColor: theme.up,
      wickDownColor: theme.down,
    });
    const bars = this.#volumes.data();
    this.#volumes.setData(bars.map((bar, index) => ({ ...bar, color: this.#volumeColour(index, theme) })));
    this.setWatermark(this.#watermarkText);
  }

  /**
   * @param {number} index
   * @param {Theme} theme
   */
  #volumeColour(index, theme) {
    const bar = /** @type {any} */ (this.#candles.dataByIndex(index));
    return bar.close < bar.open ? theme.downSoft : theme.upSoft;
  }
}

/** @typedef {ReturnType<typeof readTheme>} Theme */

/** @param {HTMLElement} element whose custom properties hold the colours */
function readTheme(element) {
  const style = getComputedStyle(element);
  const colour = (/** @type {string} */ name) => style.getPropertyValue(`--${name}`).trim();
  return {
    surface: colour("surface"),
    muted: colour("muted"),
    grid: colour("grid"),
    label: colour("label"),
    watermark: colour("watermark"),
    up: colour("up"),
    down: colour("down"),
    upSoft: colour("up-soft"),
    downSoft: colour("down-soft"),
    font: style.fontFamily,
  };
}

/** @param {Candle} candle */
function barOf({ openMs, open, high, low, close }) {
  return { time: /** @type {import("lightweight-charts").UTCTimestamp} */ (openMs / 1000), open, high, low, close };
}

/**
 * @param {Candle} candle
 * @param {Theme} theme
 */
function volumeOf({ openMs, open, close, volume }, theme) {
  const time = /** @type {import("lightweight-charts").UTCTimestamp} */ (openMs / 1000);
  return { time, value: volume, color: close < open ? theme.downSoft : theme.upSoft };
}
