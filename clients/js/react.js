import { createContext, createElement, useContext, useEffect, useState } from "react";
import { connect } from "./src/index.js";

/** @typedef {import("./types/index.d.ts").Client} Client */
/** @typedef {import("./types/index.d.ts").Message<"ticker">} TickerMessage */
/** @typedef {import("./types/react.d.ts").Price} Price */

const ClientContext = createContext(/** @type {Client | null} */ (null));

/** @param {{client: Client, children?: import("react").ReactNode}} props */
export function TickcastProvider({ client, children }) {
  return createElement(ClientContext.Provider, { value: client }, children);
}

/** @type {{client: Client, users: number} | undefined} */
let own;

/**
 * The client of components without a provider, to the page's own server, as long as one of them is mounted.
 * @returns {{client: Client, release: () => void}}
 */
function borrowOwn() {
  const borrowed = (own ??= { client: connect(), users: 0 });
  borrowed.users += 1;
  const release = () => {
    borrowed.users -= 1;
    if (borrowed.users > 0) return;
    own = undefined;
    borrowed.client.close();
  };
  return { client: borrowed.client, release };
}

/** @type {typeof import("./types/react.d.ts").usePriceStream} */
export function usePriceStream(symbols) {
  const provided = useContext(ClientContext);
  const [prices, setPrices] = useState(/** @type {Record<string, Price>} */ ({}));
  // Components often write the list in place: a new array with the same symbols is no change.
  const wanted = JSON.stringify(symbols);

  useEffect(() => {
    const names = /** @type {string[]} */ (JSON.parse(wanted));
    const isWanted = new Set(names.map((name) => name.toUpperCase()));
    setPrices((shown) => Object.fromEntries(Object.entries(shown).filter(([symbol]) => isWanted.has(symbol))));
    if (names.length === 0) return undefined;
    const { client, release } = provided ? { client: provided, release: () => {} } : borrowOwn();
    const subscription = client.subscribe({
      streamType: "ticker",
      symbols: names,
      market: "spot",
      onMessage: (message) => setPrices((shown) => ({ ...shown, [message.data.s]: priceOf(message) })),
    });
    return () => {
      void subscription.unsubscribe();
      release();
    };
  }, [provided, wanted]);

  return prices;
}

/**
 * @param {TickerMessage} message
 * @returns {Price}
 */
function priceOf({ data }) {
  return {
    symbol: data.s,
    price: Number(data.c),
    volume: Number(data.v),
    high: Number(data.h),
    low: Number(data.l),
    change: Number(data.p),
    changePercent: Number(data.P),
    timestamp: new Date(data.E).toISOString().slice(0, -1),
  };
}
