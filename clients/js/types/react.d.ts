import type { FunctionComponent, ReactNode } from "react";
import type { Client } from "./index.js";

/** What document 002's `price_update` holds; numbers, `timestamp` in ISO 8601 without a zone (UTC). */
export interface Price {
  symbol: string;
  price: number;
  volume: number;
  high: number;
  low: number;
  change: number;
  changePercent: number;
  timestamp: string;
}

/** The latest prices by symbol, of those that have come; document 002's hook. */
export function usePriceStream(symbols: string[]): Record<string, Price>;

/** The client of the components below; without one they connect to the page's own server. */
export const TickcastProvider: FunctionComponent<{ client: Client; children?: ReactNode }>;
