/**
 * The REST calls of the page.
 * @module
 */

import { Catalog } from "./instruments.js";

/** @typedef {import("./instruments.js").Instrument} Instrument */

/** @typedef {import("./credentials.js").Credentials} Credentials */

/** @type {Credentials | undefined} */
let credentials;

const TIMEOUT_MS = 10_000;

/** A REST call that failed: no answer, no JSON, or the server's own refusal with its stable `code` (of Binance's paths its number). */
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
  const served = /** @type {const} */ (["spot", "futures"]).filter((market) => market in markets);
  const instruments = served.flatMap((market) =>
    markets[market].map((/** @type {Omit<Instrument, "market">} */ info) => ({ ...info, market })),
  );
  return new Catalog(
    instruments,
    defaults.map((/** @type {string} */ symbol) => `spot:${symbol}`),
    served.filter((market) => markets[market].length === 0),
  );
}

/**
 * One answer of Binance's own REST API, which the server speaks as well.
 * @param {string} path `/fapi/v1/openInterest?symbol=BTCUSDT`
 * @param {AbortSignal} signal
 * @returns {Promise<any>}
 * @throws {ApiError}
 */
export async function fetchBinance(path, signal) {
  const { status, body } = await fetchJson(path, signal);
  if (status !== 200) throw new ApiError(body.msg ?? `HTTP ${status}`, String(body.code ?? "unknown"));
  return body;
}

/**
 * The `data` of one answer.
 * @param {string} path
 * @returns {Promise<any>}
 */
async function fetchData(path) {
  const { status, body } = await fetchJson(path);
  if (!body.success) throw new ApiError(body.error ?? `HTTP ${status}`, body.code ?? "unknown");
  return body.data;
}

/**
 * @param {string} path
 * @param {AbortSignal} [signal]
 * @returns {Promise<{status: number, body: any}>}
 */
async function fetchJson(path, signal) {
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
    return fetchJson(path, signal);
  }
  return { status, body };
}
