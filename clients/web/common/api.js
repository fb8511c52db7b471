/**
 * The REST calls of the page.
 * @module
 */

import { Catalog } from "./instruments.js";
import { candlesOfRows } from "./payloads.js";

/** @typedef {import("./payloads.js").Candle} Candle */
/** @typedef {import("./streams.js").Interval} Interval */

/** @typedef {import("./instruments.js").Instrument} Instrument */

/** @typedef {import("./credentials.js").Credentials} Credentials */

/** @type {Credentials | undefined} */
let credentials;

const HISTORY_LENGTH = 500;
const TIMEOUT_MS = 10_000;

/** A REST call that failed: no answer, no JSON, or the server's own refusal with its stable `code`. */
export class ApiError extends Error {
  /**
   * @param {string} message
   * @param {string} code
   */
  constructor(message, code) {
    super(message);
    this.name = "ApiError";
    this.code = code;
  }
}

/**
 * Show these with every call from now on, and ask for others where they are refused.
 * @param {Credentials} shown
 */
export function showCredentials(shown) {
  credentials = shown;
}

/**
 * The instruments that can be watched.
 * @returns {Promise<Catalog>}
 * @throws {ApiError}
 */
export async function fetchCatalog() {
  const { default_symbols: defaults, markets } = await fetchData("/symbols");
  const instruments = /** @type {const} */ (["spot", "futures"]).flatMap((market) =>
    (markets[market] ?? []).map((/** @type {Omit<Instrument, "market">} */ info) => ({ ...info, market })),
  );
  return new Catalog(
    instruments,
    defaults.map((/** @type {string} */ symbol) => `spot:${symbol}`),
  );
}

/**
 * A spot symbol's price, where the server knows the symbol.
 * @param {string} symbol
 * @throws {ApiError} whose message may name the symbol that was probably meant
 */
export async function fetchPrice(symbol) {
  return fetchData(`/price/${encodeURIComponent(symbol)}`);
}

/**
 * The latest candles of an instrument, oldest first, the open one included.
 * @param {Instrument} instrument
 * @param {Interval} interval
 * @param {AbortSignal} signal
 * @returns {Promise<Candle[]>}
 * @throws {ApiError}
 */
export async function fetchCandles({ market, symbol }, interval, signal) {
  const query = new URLSearchParams({ market, interval, limit: String(HISTORY_LENGTH) });
  const { klines } = await fetchData(`/klines/${encodeURIComponent(symbol)}?${query}`, signal);
  return candlesOfRows(klines);
}

/**
 * The `data` of one answer.
 * @param {string} path
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
async function fetchData(path, signal) {
  const deadline = AbortSignal.timeout(TIMEOUT_MS);
  const signals = signal ? [signal, deadline] : [deadline];
  let body;
  let status;
  const token = credentials?.token ?? "";
  try {
    const headers = credentials?.headers;
    const response = await fetch(path, { signal: AbortSignal.any(signals), cache: "no-store", headers });
    status = response.status;
    body = await response.json();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ApiError(status ? `unreadable answer (HTTP ${status})` : `no answer (${reason})`, "unreachable");
  }
  if (body.code === "unauthorized" && credentials) {
    await credentials.renew(token, { code: body.code, message: body.error });
    return fetchData(path, signal);
  }
  if (!body.success) throw new ApiError(body.error ?? `HTTP ${status}`, body.code ?? "unknown");
  return body.data;
}
