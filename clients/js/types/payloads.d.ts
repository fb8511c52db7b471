/**
 * What `data` holds: Binance's payloads with Binance's letters; prices and quantities are decimal strings.
 *
 * Sources: Binance "WebSocket Streams" (spot), "Websocket Market Streams" (USD-M futures); docs/protocol.md for `book`
 * and for what payloads of `bybit:` streams lack. Times are ms since the epoch.
 */

/** What every payload of an event says. */
export interface Event {
  /** Event type. */
  e: string;
  /** Event time. */
  E: number;
  /** Symbol, in capitals. */
  s: string;
  /** `poll` where the value was fetched over REST because the stream was silent or had a hole. */
  source?: "poll";
}

/** Price and quantity; quantity 0 deletes the level. */
export type Level = [price: string, quantity: string];

export interface Candle {
  /** Open time. */
  t: number;
  /** Close time. */
  T: number;
  /** Interval. */
  i: string;
  /** First and last trade id; -1 where the candle was polled. */
  f?: number;
  L?: number;
  o: string;
  c: string;
  h: string;
  l: string;
  /** Volume in the base asset. */
  v: string;
  /** Number of trades. */
  n?: number;
  /** Whether the candle is closed. */
  x: boolean;
  /** Volume in the quote asset. */
  q: string;
  /** What takers bought, in the base and in the quote asset. */
  V?: string;
  Q?: string;
}

export interface Kline extends Event {
  k: Candle & { s: string };
}

export interface ContinuousKline extends Omit<Event, "s"> {
  /** Pair. */
  ps: string;
  /** Contract type. */
  ct: string;
  k: Candle;
}

export interface MiniTicker extends Event {
  /** Last price. */
  c: string;
  o: string;
  h: string;
  l: string;
  v: string;
  q: string;
}

export interface Ticker extends MiniTicker {
  /** Change of the price. */
  p: string;
  /** Change in percent. */
  P: string;
  /** Weighted average price. */
  w?: string;
  /** Best bid, its quantity, best ask, its quantity (spot). */
  b?: string;
  B?: string;
  a?: string;
  A?: string;
}

export interface BookTicker extends Partial<Event> {
  /** Update id. */
  u: number;
  s: string;
  b: string;
  B: string;
  a: string;
  A: string;
}

export interface AveragePrice extends Event {
  /** Interval of the average. */
  i: string;
  w: string;
  /** Time of the last trade. */
  T: number;
}

export interface DepthUpdate extends Event {
  /** First and last update id. */
  U: number;
  u: number;
  /** Last update id of the update before (futures). */
  pu?: number;
  b: Level[];
  a: Level[];
}

/** Partial depth of spot. */
export interface PartialDepth {
  lastUpdateId: number;
  bids: Level[];
  asks: Level[];
}

/** All levels of a book, best first, as of update id `u`; made by the server. */
export interface BookSnapshot extends Event {
  e: "bookSnapshot";
  u: number;
  b: Level[];
  a: Level[];
}

export interface Trade extends Event {
  /** Trade id. */
  t: number;
  p: string;
  q: string;
  /** Trade time. */
  T: number;
  /** Whether the buyer is the maker. */
  m: boolean;
}

export interface AggregateTrade extends Omit<Trade, "t"> {
  /** Aggregate trade id. */
  a: number;
  /** First and last trade id. */
  f: number;
  l: number;
}

export interface MarkPrice extends Event {
  p: string;
  /** Index price. */
  i: string;
  /** Estimated settle price. */
  P: string;
  /** Funding rate; empty for contracts without funding. */
  r: string;
  /** Time of the next funding. */
  T: number;
}

export interface Liquidation extends Omit<Event, "s"> {
  o: {
    s: string;
    S: "BUY" | "SELL";
    /** Order type. */
    o: string;
    /** Time in force. */
    f: string;
    q: string;
    p: string;
    /** Average price. */
    ap: string;
    /** Order status. */
    X: string;
    /** Quantity last filled, and filled altogether. */
    l: string;
    z: string;
    T: number;
  };
}

/** The payload of each kind of event. */
export interface Payloads {
  kline: Kline;
  continuousKline: ContinuousKline;
  ticker: Ticker;
  ticker_1h: Ticker;
  ticker_4h: Ticker;
  ticker_1d: Ticker;
  miniTicker: MiniTicker;
  bookTicker: BookTicker;
  avgPrice: AveragePrice;
  depth: DepthUpdate | PartialDepth;
  book: BookSnapshot | DepthUpdate;
  trade: Trade;
  aggTrade: AggregateTrade;
  markPrice: MarkPrice;
  liquidation: Liquidation;
}
