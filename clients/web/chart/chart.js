/**
 * Drawing of candles and volume with lightweight-charts. Knows nothing of where candles come from.
 * @module
 */

import { decimalsOf, formatPrice } from "../common/format.js";
import {
  CandlestickSeries,
  ColorType,
  CrosshairMode,
  HistogramSeries,
  LineStyle,
  createChart,
  createTextWatermark,
} from "../vendor/lightweight-charts.js";
import { onThemeChange, readTheme } from "./theme.js";
import { formatOpenTime } from "./words.js";

/** @typedef {import("../../js/types/index.js").CandleBar} CandleBar */
/** @typedef {import("../common/streams.js").Interval} Interval */
/** @typedef {import("./theme.js").Theme} Theme */
/** @typedef {import("lightweight-charts").UTCTimestamp} UTCTimestamp */

/**
 * What is in view: positions among the candles that are drawn, with fractions, and beyond them where there is room.
 * @typedef {object} Sight
 * @property {number} from
 * @property {number} to
 * @property {boolean} isLatest whether the last candle is in view
 */

const VISIBLE_CANDLES_PER_PX = 1 / 8;
const ROOM_ON_THE_RIGHT = 4;
const MIN_CANDLES_SHOWN = 30;
const [MIN_ZOOM, MAX_ZOOM] = [10, 2000];
const VOLUME_SHARE = 0.18;
/** Half the height of a price on the scale: nearer to the edge it would be cut. */
const LABEL_ROOM_PX = 8;
/** Enough for the prices of most symbols: the scale keeps its width when another one is shown. */
const SCALE_WIDTH_PX = 76;

/**
 * Events: `hover` (CustomEvent of the open time of the candle under the pointer, or null) and `sight` (of a Sight).
 */
export class Chart extends EventTarget {
  #element;
  #chart;
  #candles;
  #volumes;
  #priceLine;
  #watermark;
  #watermarkText = "";
  #isStale = false;
  /** @type {Theme} */
  #theme;
  /** @type {Interval} */
  #interval = "1m";
  /** How many candles are drawn. */
  #count = 0;
  /** What will be in view from the next frame on. @type {{from: number, to: number} | null} */
  #target = null;
  /** The last one. @type {CandleBar | undefined} */
  #last;

  /** @param {HTMLElement} element that the chart fills */
  constructor(element) {
    super();
    this.#element = element;
    this.#theme = readTheme(element);
    this.#chart = createChart(element, {
      autoSize: true,
      crosshair: { mode: CrosshairMode.Normal },
      localization: { timeFormatter: (/** @type {number} */ time) => formatOpenTime(time * 1000, this.#interval) },
      rightPriceScale: {
        borderVisible: false,
        scaleMargins: { top: 0.08, bottom: VOLUME_SHARE + 0.06 },
        minimumWidth: SCALE_WIDTH_PX,
      },
      timeScale: { borderVisible: false, rightOffset: ROOM_ON_THE_RIGHT },
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
    this.#candles = this.#chart.addSeries(CandlestickSeries, {
      borderVisible: false,
      // They would follow the last candle in view, not the last one.
      lastValueVisible: false,
      priceLineVisible: false,
    });
    this.#priceLine = this.#candles.createPriceLine({ price: 0, lineStyle: LineStyle.Dotted, lineWidth: 1 });
    this.#watermark = createTextWatermark(this.#chart.panes()[0], { lines: [] });
    this.#applyTheme();
    onThemeChange(() => this.#applyTheme());
    this.#listen();
  }

  /** How many candles are drawn. */
  get count() {
    return this.#count;
  }

  /** @returns {Sight | null} null of an empty chart */
  get sight() {
    const range = this.#range;
    return range && { from: range.from, to: range.to, isLatest: range.to >= this.#count - 1 };
  }

  /**
   * Start empty.
   * @param {string} tickSize of the prices
   * @param {Interval} interval
   */
  clear(tickSize, interval) {
    this.#interval = interval;
    const decimals = decimalsOf(tickSize);
    const formatter = (/** @type {number} */ price) => formatPrice(price, decimals);
    const tickmarksFormatter = (/** @type {readonly number[]} */ prices) =>
      prices.map((price) => (this.#isAtEdge(price) ? "" : formatter(price)));
    this.#candles.applyOptions({
      priceFormat: { type: "custom", minMove: Number(tickSize), formatter, tickmarksFormatter },
    });
    this.#chart.applyOptions({
      timeScale: { timeVisible: !/[dwM]$/.test(interval), secondsVisible: interval === "1s" },
    });
    this.setCandles([]);
  }

  /**
   * Draw exactly these candles. What was in view stays in view; an empty chart shows the latest ones.
   * @param {readonly CandleBar[]} bars oldest first
   */
  setCandles(bars) {
    const range = this.#range;
    const kept = range && this.#indexAfter(range, bars);
    this.#candles.setData(bars.map(barOf));
    this.#volumes.setData(bars.map((bar) => volumeOf(bar, this.#theme)));
    this.#count = bars.length;
    this.#last = bars.at(-1);
    this.#drawPriceLine();
    if (bars.length === 0) return;
    if (range && kept) this.#show(range.from + kept.shift, range.to + kept.shift);
    else this.#showFirst();
    // While the data changed, what the library told of its range was set against another number of candles.
    this.#tellSight();
  }

  /**
   * Draw the last candle anew, or add the next one.
   * @param {CandleBar} bar
   */
  update(bar) {
    this.#candles.update(barOf(bar));
    this.#volumes.update(volumeOf(bar, this.#theme));
    if (bar.openTime !== this.#last?.openTime) this.#count += 1;
    this.#last = bar;
    this.#drawPriceLine();
  }

  /**
   * Move through time.
   * @param {number} share of what is in view; towards the past where negative
   */
  pan(share) {
    const range = this.#range;
    if (!range) return;
    const step = (range.to - range.from) * share;
    this.#show(range.from + step, range.to + step);
  }

  /**
   * Show more or fewer candles; the last one stays where it is while it is in view, else the middle does.
   * @param {number} factor of their number
   */
  zoom(factor) {
    const range = this.#range;
    if (!range) return;
    const width = range.to - range.from;
    const wanted = Math.min(MAX_ZOOM, Math.max(MIN_ZOOM, width * factor));
    const right = this.sight?.isLatest ? range.to : range.to - (width - wanted) / 2;
    this.#show(right - wanted, right);
  }

  /** Go to the first candle that is drawn. */
  showOldest() {
    const range = this.#range;
    if (range) this.#show(-1, range.to - range.from - 1);
  }

  /** Go to the last candle. */
  showLatest() {
    const range = this.#range;
    const right = this.#count - 1 + ROOM_ON_THE_RIGHT;
    if (range) this.#show(right - (range.to - range.from), right);
  }

  /**
   * Write `text` behind the candles, so that a picture of the chart carries it.
   * @param {string} text
   */
  setWatermark(text) {
    this.#watermarkText = text;
    const lines = text ? [{ text, color: this.#theme.watermark, fontSize: 40, fontStyle: "600" }] : [];
    this.#watermark.applyOptions({ lines });
  }

  /**
   * Grey the line of the last price, or give it its colour again.
   * @param {boolean} isStale
   */
  setStale(isStale) {
    this.#isStale = isStale;
    this.#drawPriceLine();
  }

  get #range() {
    return this.#count > 0 ? (this.#target ?? this.#chart.timeScale().getVisibleLogicalRange()) : null;
  }

  #listen() {
    this.#chart.subscribeCrosshairMove(({ time }) => {
      const openTime = typeof time === "number" ? time * 1000 : null;
      this.dispatchEvent(new CustomEvent("hover", { detail: openTime }));
    });
    this.#chart.timeScale().subscribeVisibleLogicalRangeChange(() => this.#tellSight());
  }

  #tellSight() {
    const { sight } = this;
    if (sight) this.dispatchEvent(new CustomEvent("sight", { detail: sight }));
  }

  /**
   * By how much what is in view moves where `bars` take the place of what is drawn; null where it is not among them.
   * @param {{from: number, to: number}} range
   * @param {readonly CandleBar[]} bars
   */
  #indexAfter(range, bars) {
    const last = this.#count - 1;
    // While the last candle is in view the chart follows it, also over those that were missed.
    if (range.to >= last) return bars.length > 0 ? { shift: bars.length - 1 - last } : null;
    const at = Math.max(0, Math.ceil(range.from));
    const time = Number(this.#candles.dataByIndex(at)?.time) * 1000;
    const index = indexOf(bars, time);
    return index === -1 ? null : { shift: index - at };
  }

  #drawPriceLine() {
    const { muted, up, down } = this.#theme;
    const [open, price] = [Number(this.#last?.open), Number(this.#last?.close)];
    const color = this.#isStale ? muted : price < open ? down : up;
    const isVisible = this.#last !== undefined;
    this.#priceLine.applyOptions({ price: isVisible ? price : 0, color, lineVisible: isVisible, axisLabelVisible: isVisible });
  }

  /** @param {number} price */
  #isAtEdge(price) {
    const y = this.#candles.priceToCoordinate(price);
    const height = this.#chart.panes()[0].getHeight();
    return y !== null && (y < LABEL_ROOM_PX || y > height - LABEL_ROOM_PX);
  }

  #showFirst() {
    const shown = Math.max(MIN_CANDLES_SHOWN, Math.round(this.#element.clientWidth * VISIBLE_CANDLES_PER_PX));
    this.#show(this.#count - shown, this.#count - 1 + ROOM_ON_THE_RIGHT);
  }

  /**
   * @param {number} from
   * @param {number} to
   */
  #show(from, to) {
    const target = { from, to };
    this.#target = target;
    // Done in the next frame: until then, what comes on top must not begin at what was in view before.
    this.#chart.timeScale().setVisibleLogicalRange(target);
    requestAnimationFrame(() => {
      if (this.#target === target) this.#target = null;
    });
  }

  #applyTheme() {
    const theme = (this.#theme = readTheme(this.#element));
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
    this.#volumes.setData(bars.map((bar, index) => ({ ...bar, color: this.#volumeColour(index) })));
    this.#drawPriceLine();
    this.setWatermark(this.#watermarkText);
  }

  /** @param {number} index */
  #volumeColour(index) {
    const bar = /** @type {any} */ (this.#candles.dataByIndex(index));
    return bar.close < bar.open ? this.#theme.downSoft : this.#theme.upSoft;
  }
}

/**
 * Where the candle of `openTime` is, -1 where it is not.
 * @param {readonly CandleBar[]} bars in order of time
 * @param {number} openTime
 */
function indexOf(bars, openTime) {
  let [low, high] = [0, bars.length - 1];
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (bars[middle].openTime === openTime) return middle;
    if (bars[middle].openTime < openTime) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}

/** @param {CandleBar} bar */
function barOf({ openTime, open, high, low, close }) {
  const time = /** @type {UTCTimestamp} */ (openTime / 1000);
  return { time, open: Number(open), high: Number(high), low: Number(low), close: Number(close) };
}

/**
 * @param {CandleBar} bar
 * @param {Theme} theme
 */
function volumeOf({ openTime, open, close, volume }, theme) {
  const time = /** @type {UTCTimestamp} */ (openTime / 1000);
  return { time, value: Number(volume), color: Number(close) < Number(open) ? theme.downSoft : theme.upSoft };
}
