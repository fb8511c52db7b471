/**
 * What can be watched: the instruments of both markets. Pure.
 * @module
 */

/** @typedef {"spot" | "futures"} Market */

/**
 * @typedef {object} Instrument
 * @property {Market} market
 * @property {string} symbol `BTCUSDT`
 * @property {string} status `TRADING`, `HALT`, `BREAK`, `SETTLING`, ... (Binance, exchangeInfo), or our own `DELISTED`
 * @property {string} baseAsset
 * @property {string} quoteAsset
 * @property {string} tickSize decimal string
 * @property {string} stepSize decimal string
 */

/** What decides which streams show an instrument, and how its figures are rounded. */
const PARTS = /** @type {const} */ (["market", "symbol", "tickSize", "stepSize"]);

const HALT_LABELS = new Map([
  ["HALT", "halted"],
  ["END_OF_DAY", "closed"],
  ["CLOSE", "closed"],
  ["PRE_TRADING", "not open yet"],
  ["PENDING_TRADING", "not open yet"],
  ["PRE_SETTLE", "settling"],
  ["PRE_DELIVERING", "delivering"],
]);

/**
 * The name of an instrument across markets, as watchlists keep it: `spot:BTCUSDT`.
 * @param {{market: Market, symbol: string}} instrument
 * @returns {string}
 */
export function idOf({ market, symbol }) {
  return `${market}:${symbol}`;
}

/**
 * Typed text as symbols are written: `link/usdt` is `LINKUSDT`.
 * @param {string} text
 * @returns {string}
 */
export function symbolOf(text) {
  return text.toUpperCase().replace(/[\s/_-]/g, "");
}

/**
 * Whether an instrument is traded again: what was asked for meanwhile was refused, and does not come by itself.
 * @param {Instrument} before
 * @param {Instrument} now
 * @returns {boolean}
 */
export function tradesAgain(before, now) {
  return before.status !== "TRADING" && now.status === "TRADING";
}

/**
 * Whether what shows an instrument may go on as it is.
 * @param {Instrument | null} shown
 * @param {Instrument} now what is to be shown: another one, or the same as the exchange lists it now
 * @returns {boolean}
 */
export function goesOn(shown, now) {
  return shown !== null && PARTS.every((part) => shown[part] === now[part]) && !tradesAgain(shown, now);
}

/** The instruments of an exchange, by market and symbol. */
export class Catalog {
  /** @type {Map<string, Instrument>} */
  #byId;
  #awaited;

  /**
   * @param {Instrument[]} instruments
   * @param {string[]} defaults ids of those that a new page watches
   * @param {Market[]} [awaited] markets that the server has, and whose instruments it does not know yet
   */
  constructor(instruments, defaults, awaited = []) {
    this.#byId = new Map(instruments.map((instrument) => [idOf(instrument), instrument]));
    this.#awaited = awaited;
    this.defaults = defaults.filter((id) => this.#byId.has(id));
  }

  /** @returns {Instrument[]} */
  get all() {
    return [...this.#byId.values()];
  }

  /**
   * @param {string} id `spot:BTCUSDT`
   * @returns {Instrument | undefined}
   */
  get(id) {
    return this.#byId.get(id);
  }

  /** @returns {boolean} whether the instruments of all markets are known */
  get isWhole() {
    return this.#awaited.length === 0;
  }

  /**
   * Whether nobody knows yet if there is such an instrument.
   * @param {string} id `spot:BTCUSDT`
   * @returns {boolean}
   */
  awaits(id) {
    return this.#awaited.some((market) => id.startsWith(`${market}:`));
  }

  /**
   * This catalog as the successor of `previous`: what is not listed any more stays, as `DELISTED`. A market without any
   * instrument is one that the server does not know yet, and stays as it was.
   * @param {Catalog} previous
   * @returns {Catalog}
   */
  following(previous) {
    const markets = new Set(this.all.map(({ market }) => market));
    const left = previous.all
      .filter((one) => !this.#byId.has(idOf(one)))
      .map((one) => (markets.has(one.market) ? { ...one, status: "DELISTED" } : one));
    const awaited = this.#awaited.filter((market) => left.every((one) => one.market !== market));
    return new Catalog([...this.all, ...left], this.defaults, awaited);
  }
}

/**
 * Why an instrument is not traded, in a word; `""` while it is.
 *
 * Binance, exchangeInfo: `status` of spot, `contractStatus` of futures.
 * @param {string} status
 * @returns {string} `halted`, `break`, `delisted`, ...
 */
export function haltLabel(status) {
  if (status === "TRADING") return "";
  return HALT_LABELS.get(status) ?? status.toLowerCase().replaceAll("_", " ");
}
