/**
 * What a person means who types a symbol. Pure.
 * @module
 */

/** @typedef {import("./api.js").SymbolInfo} SymbolInfo */

const MAIN_QUOTE = "USDT";

/**
 * Typed text as symbols are written: `link/usdt` is `LINKUSDT`.
 * @param {string} text
 * @returns {string}
 */
export function symbolOf(text) {
  return text.toUpperCase().replace(/[\s/_-]/g, "");
}

/**
 * The symbol of that name or, for the name of an asset alone, that asset's: in USDT where there is one.
 * @param {string} name as `symbolOf` writes it
 * @param {Map<string, SymbolInfo>} trading
 * @returns {SymbolInfo | undefined}
 */
export function resolveSymbol(name, trading) {
  const ofAsset = () => [...trading.values()].find(({ baseAsset }) => baseAsset === name);
  return trading.get(name) ?? trading.get(name + MAIN_QUOTE) ?? ofAsset();
}
