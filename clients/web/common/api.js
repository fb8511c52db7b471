/**
 * The REST calls of the page.
 * @module
 */

import { Catalog } from "./instruments.js";

/** @typedef {import("./instruments.js").Instrument} Instrument */

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
 * The `data` of one answer.
 * @param {string} path
 * @returns {Promise<any>}
 */
async function fetchData(path) {
  let body;
  let status;
  try {
    const response = await fetch(path, { signal: AbortSignal.timeout(TIMEOUT_MS), cache: "no-store" });
    status = response.status;
    body = await response.json();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ApiError(status ? `unreadable answer (HTTP ${status})` : `no answer (${reason})`, "unreachable");
  }
  if (!body.success) throw new ApiError(body.error ?? `HTTP ${status}`, body.code ?? "unknown");
  return body.data;
}
