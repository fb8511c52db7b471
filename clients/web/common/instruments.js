/**
 * What can be watched: the instruments of both markets. Pure.
 * @module
 */

/** @typedef {"spot" | "futures"} Market */

/**
 * @typedef {object} Instrument
 * @property {Market} market
 * @property {string} symbol `BTCUSDT`
 * @property {string} status `TRADING`, `HALT`, `BREAK`, `SETTLING`, ... (Binance, exchangeInfo)
 * @property {string} baseAsset
 * @property {string} quoteAsset
 * @property {string} tickSize decimal string
 * @property {string} stepSize decimal string
 */

const MAIN_QUOTE = "USDT";

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

/** The instruments of an exchange, by market and symbol. */
export class Catalog {
  /** @type {Map<string, Instrument>} */
  #byId;

  /**
   * @param {Instrument[]} instruments
   * @param {string[]} defaults ids of those that a new page watches
   */
  constructor(instruments, defaults) {
    this.#byId = new Map(instruments.map((instrument) => [idOf(instrument), instrument]));
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

  /**
   * The instrument of that name or, for the name of an asset alone, that asset's: in USDT where there is one.
   * @param {string} name as `symbolOf` writes it
   * @param {Market} market
   * @returns {Instrument | undefined}
   */
  resolve(name, market) {
    const ofAsset = () => this.all.find((one) => one.market === market && one.baseAsset === name);
    return this.get(`${market}:${name}`) ?? this.get(`${market}:${name}${MAIN_QUOTE}`) ?? ofAsset();
  }
}
