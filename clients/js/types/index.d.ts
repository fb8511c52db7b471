import type { Payloads } from "./payloads.js";

export type * from "./payloads.js";

export type Market = "spot" | "futures" | "bybit";
/** An event that carries messages of streams. */
export type KindName = keyof Payloads;

/** The kind of event that a stream's name stands for; any kind where the name is not known while compiling. */
export type KindOf<Stream extends string> = Stream extends `${string}@kline_${string}`
  ? "kline"
  : Stream extends `${string}@continuousKline_${string}`
    ? "continuousKline"
    : Stream extends `${string}@forceOrder` | `!forceOrder@arr`
      ? "liquidation"
      : Stream extends `${string}@depth${string}`
        ? "depth"
        : Stream extends `${string}!${infer Kind extends KindName}@${string}`
          ? Kind
          : Stream extends `${string}@${infer Kind extends KindName}@${string}`
            ? Kind
            : Stream extends `${string}@${infer Kind extends KindName}`
              ? Kind
              : KindName;

interface MessageOfKind<Kind extends KindName, Data> {
  kind: Kind;
  /** `spot:btcusdt@trade`, also where it was asked for as `btcusdt@trade`. */
  stream: string;
  /** Never falls within a stream. */
  cursor: number;
  /** When the server received it, ms since the epoch. */
  ts: number;
  /** Binance's payload. */
  data: Data;
  /** Whether it is the state from which live messages go on, shown with the subscription. */
  isSnapshot: boolean;
}

/** A message of a kind; of several kinds their union, told apart by `kind`. */
export type Message<Kind extends KindName = KindName> = Kind extends KindName
  ? MessageOfKind<Kind, Payloads[Kind]>
  : never;

/** A message of one of Binance's streams of all symbols (`!miniTicker@arr`), whose payload is an array. */
export type ArrayMessage<Kind extends KindName> = Kind extends KindName ? MessageOfKind<Kind, Payloads[Kind][]> : never;

/** What comes of a stream. */
export type MessageOf<Stream extends string> = Stream extends `${string}!${string}@arr${string}`
  ? Stream extends `!forceOrder@arr`
    ? Message<"liquidation">
    : ArrayMessage<KindOf<Stream>>
  : Message<KindOf<Stream>>;

/** Why something was refused: a code of docs/reasons.md, or an ErrorCode. */
export interface Refusal {
  code: string;
  message: string;
  stream?: string | undefined;
  suggestion?: string | undefined;
  /** In s. */
  retryAfter?: number | undefined;
}

/** Codes of the library itself: it was closed; no answer came; a replay was read too slowly, or its connection broke. */
export type ErrorCode = "closed" | "no_answer" | "unread" | "disconnected";

export class TickcastError extends Error implements Refusal {
  constructor(refusal: Refusal);
  code: string;
  stream: string | undefined;
  suggestion: string | undefined;
  retryAfter: number | undefined;
}

/** Messages that do not come. */
export interface Gap {
  stream: string;
  /** How many; null where nobody knows. */
  missed: number | null;
  /** Cursor of the last one that is missing; null where nobody knows. */
  until: number | null;
  /**
   * `conflated`, `dropped`: the connection was too slow; `upstream`: nobody has them; `unrecovered`: we were away for too
   * long (the latest state follows); `unread`: the loop over the subscription was too slow.
   */
  reason: "conflated" | "dropped" | "upstream" | "unrecovered" | "unread";
}

/** What a reconnect has brought: streams that go on without a loss, and those of which something is lost. */
export interface Resumption {
  recovered: string[];
  lost: string[];
}

export interface SubscriptionEvents {
  gap: Gap;
  /**
   * A stream that was refused, or that a renewed token does not cover any more; the others of the request are subscribed.
   * Told once. What is `not_trading` or `forbidden` is asked for again with the next connection, `forbidden` with the
   * next token, too.
   */
  rejected: Refusal;
  /**
   * What the server says of a subscribed stream: `too_many_books`. It stays subscribed. Or of all of them, when it has no
   * room for them after a reconnect: `too_many_streams`. They are asked for again every few seconds.
   */
  error: Refusal;
  resumed: Resumption;
  /** It ended: `unsubscribe`, `close`, or the server refused it (then with the reason). */
  end: TickcastError | undefined;
}

export interface Ready {
  /** The streams by their full names. */
  streams: string[];
  rejected: Refusal[];
}

export interface Events<Names extends object> {
  /** Call `handler` with the body of each event; the function returned ends that. */
  on<Name extends keyof Names>(event: Name, handler: (body: Names[Name]) => void): () => void;
}

/**
 * Streams that come for as long as they are wanted, across reconnects: each message once and in order, what is missing
 * told by `gap`. Without `onMessage` it is iterated over, by one reader; leaving the loop unsubscribes.
 */
export interface Subscription<M = Message> extends Events<SubscriptionEvents>, AsyncIterable<M> {
  /** Resolves with the server's first answer; rejects with a TickcastError where nothing was accepted. */
  readonly ready: Promise<Ready>;
  /** The subscribed streams by their full names. */
  readonly streams: readonly string[];
  /** Messages that came a second time and were left out. */
  readonly duplicates: number;
  /** Resolves once nothing more comes. */
  unsubscribe(): Promise<void>;
}

interface SubscribeOptions<M> {
  /** Of names without a prefix. */
  market?: Market;
  /** At most one update of a state stream in so many ms. A stream has one pace per client: the one asked for last. */
  throttle?: 100 | 250 | 500 | 1000;
  /** Whether the state so far comes first; true unless given. */
  snapshot?: boolean;
  /** Called with each message; without it the subscription is iterated over. */
  onMessage?: (message: M) => void;
  /** How many messages wait for the loop, before the oldest are dropped; 10,000 unless given. */
  queueLimit?: number;
}

/** Streams by name: `btcusdt@trade`, `futures:btcusdt@markPrice@1s`, `*@kline_1m`. */
export interface StreamsRequest<Stream extends string> extends SubscribeOptions<MessageOf<Stream>> {
  streams: readonly Stream[];
}

/** Streams by kind and symbol; the symbol `ALL` means all trading symbols. */
export interface TypedRequest<Kind extends KindName> extends SubscribeOptions<Message<Kind>> {
  streamType: Kind;
  symbols: readonly string[] | string;
  options?: { interval?: string; level?: 5 | 10 | 20; updateSpeed?: "1s" | "3s" };
}

/** A candle of the past or as it stands; prices and volumes are decimal strings. */
export interface CandleBar {
  /** Ms since the epoch. */
  openTime: number;
  closeTime: number;
  open: string;
  high: string;
  low: string;
  close: string;
  volume: string;
  quoteVolume: string;
  /** Number of trades; null where the venue does not count them. */
  trades: number | null;
  /** Whether nothing more can change; false of the latest candle until the exchange has closed it. */
  isClosed: boolean;
  /** When the exchange sent this state of it, ms since the epoch; null where it was fetched. */
  eventTime: number | null;
}

export interface HistoryRequest {
  symbol: string;
  interval: string;
  market?: Market;
  /** 1 to 10,000; 500 unless given. */
  limit?: number;
  /** Ms since the epoch. */
  startTime?: number;
  endTime?: number;
}

/** Binance's row of 12 columns: open time, o, h, l, c, volume, close time, quote volume, trades, ... */
export type KlineRow = [number, string, string, string, string, string, number, string, number | null, ...unknown[]];

export interface CandlesRequest {
  symbol: string;
  interval: string;
  market?: Market;
  /** How many candles are fetched at first, and kept besides older ones; 500 unless given, at most 10,000. */
  limit?: number;
  throttle?: 100 | 250 | 500 | 1000;
}

export interface CandlesEvents {
  /** One candle is new or has changed. */
  candle: CandleBar;
  /** All of them may have changed: the first time, after missing ones were fetched, and with older ones in front. */
  reset: readonly CandleBar[];
  /** History could not be fetched, or live updates are refused after they came: both are tried again. */
  error: TickcastError;
}

/** The latest candles of one symbol: the past joined to live updates without a seam; what was missed is fetched. */
export interface Candles extends Events<CandlesEvents> {
  /** Oldest first; each interval once. */
  readonly candles: readonly CandleBar[];
  /** Resolves with the first whole series; rejects where it is refused. */
  readonly ready: Promise<readonly CandleBar[]>;
  /**
   * Put up to `count` (500 unless given, at most 10,000) older candles in front, and keep as many more.
   *
   * Resolves with how many there were: 0 at the beginning of history, or once 20,000 are kept. Calls at the same time
   * are one. Rejects where they are refused; asking again is up to you. After a pause longer than `limit` candles,
   * older ones are dropped with the `reset` that tells of it, and can be loaded again.
   */
  loadOlder(count?: number): Promise<number>;
  close(): Promise<void>;
}

export interface OrderBookEvents {
  /** The book changed, or came into sync. */
  change: OrderBook;
  /** Changes are missing: the book does not hold until it is in sync again. */
  stale: Gap | undefined;
  /** Such as `too_many_books`, or `not_trading` after a reconnect. */
  error: Refusal;
}

/** A whole order book, maintained; bid and ask never cross while it is in sync. */
export interface OrderBook extends Events<OrderBookEvents> {
  /** `spot:btcusdt@book` once subscribed. */
  readonly stream: string | undefined;
  /** Whether the levels are those of the exchange, as far as they have come here. */
  readonly isInSync: boolean;
  /** The exchange's update id; 0 before the first snapshot. */
  readonly updateId: number;
  /** The best levels, best first; all of them without `count`. */
  bids(count?: number): Level[];
  asks(count?: number): Level[];
  /** Resolves with the first snapshot; rejects where the book is refused. */
  readonly ready: Promise<OrderBook>;
  close(): Promise<void>;
}

type Level = [price: string, quantity: string];

interface ReplayOptions {
  /** Its id in `GET /replay`. */
  recording: string;
  /** Times of receipt, ms since the epoch, both included. */
  startTime?: number;
  endTime?: number;
  /** 1 to 100 times as fast as received; 0 for as fast as it can be read. */
  speed?: number;
}
export type StreamsReplay<Stream extends string> = ReplayOptions &
  Omit<StreamsRequest<Stream>, "throttle" | "snapshot">;
export type TypedReplay<Kind extends KindName> = ReplayOptions & Omit<TypedRequest<Kind>, "throttle" | "snapshot">;

export interface ReplayStart {
  id: string;
  recording: string;
  startTime: number | null;
  endTime: number | null;
  speed: number;
  streams: string[];
  rejected: Refusal[];
}

export interface ReplayEnd {
  id: string;
  sent: number;
  reason: "finished" | "stopped" | "limit" | "stalled" | "failed";
}

/** Messages of a recording. It does not survive a reconnect: its loop throws `disconnected`. */
export interface Replay<M = Message> extends AsyncIterable<M> {
  /** Rejects where it is refused. */
  readonly started: Promise<ReplayStart>;
  /** Rejects where it was refused or the connection broke. */
  readonly ended: Promise<ReplayEnd>;
  stop(): Promise<void>;
}

export interface ClientState {
  /** `closed` is final: by `close`, or because the server does not let us in (then `error` said why). */
  connection: "connecting" | "connected" | "disconnected" | "closed";
  /** Whether the exchange's feed stands, as the replica sees it. */
  exchange: "connected" | "disconnected" | "unknown";
  /** `binance`, `simulated` or `replay`; empty until told. */
  source: string;
  replica: string;
  clientId: string;
}

export interface ClientEvents {
  /** The state changed: the connection, the exchange's feed, the replica. */
  status: ClientState;
  /** The replica ends and will close the connection in so many ms; we reconnect by ourselves. */
  draining: { delayMs: number; replica: string };
  /** Each live message as it comes, before its subscriptions get it; also one that comes a second time. */
  message: Message;
  gap: Gap;
  rejected: Refusal;
  /** A refusal that belongs to no request of ours, or ends the client; unheard it is written to the console. */
  error: Refusal;
}

export interface ConnectOptions {
  /** A JSON Web Token, or what makes one for each connection; then an expired one is replaced. */
  token?: string | (() => string | Promise<string>);
  apiKey?: string;
  /**
   * Another token, where the server refuses the one shown (`unauthorized`) or it has ended (`token_expired`): of a page
   * that asks its user. `refused` is the one shown. Where `token` is a function it is asked after this. Rejecting ends the
   * client with that refusal, as it ends without this function.
   */
  renewToken?: (refusal: Refusal, refused: string | undefined) => Promise<string>;
  /** WebSocket, and polling where that does not come through, unless given. */
  transports?: ("websocket" | "polling")[];
}

/** How long the messages that a server sampled in the last 10 s took for one part of their way, in ms. */
export interface HopTimes {
  p50: number;
  p95: number;
  samples: number;
}

/** The server's clock beside ours (`performance.now()`): it showed `serverTime` at some moment between the two of ours. */
export interface ServerTime {
  askedAt: number;
  answeredAt: number;
  /** Ms since the epoch, with a fraction. */
  serverTime: number;
  /** When the exchange last sent anything, ms since the epoch, to within some 2 s; null where nobody knows. */
  lastMessage: number | null;
  /** From the exchange's message to the bus, to the replica (`publish` is a part of that), and to the transport. */
  hops: Record<"publish" | "bus" | "socket", HopTimes | null>;
}

/** One connection to a Tickcast server, which comes back by itself. */
export interface Client extends Events<ClientEvents> {
  readonly state: Readonly<ClientState>;
  subscribe<const Stream extends string>(request: StreamsRequest<Stream>): Subscription<MessageOf<Stream>>;
  subscribe<Kind extends KindName>(request: TypedRequest<Kind>): Subscription<Message<Kind>>;
  /** A maintained book of `btcusdt`, of spot unless `market` says otherwise. */
  orderBook(symbol: string, options?: { market?: Market }): OrderBook;
  candles(request: CandlesRequest): Candles;
  /** Rejects with a TickcastError: the server's refusal, or `no_answer`. 4 are asked for at once, others wait. */
  getHistoricalKlines(request: HistoryRequest): Promise<KlineRow[]>;
  replay<const Stream extends string>(request: StreamsReplay<Stream>): Replay<MessageOf<Stream>>;
  replay<Kind extends KindName>(request: TypedReplay<Kind>): Replay<Message<Kind>>;
  /** Ask the replica for its time. Rejects with a TickcastError: `no_answer`, `unknown_event` at an older server. */
  time(): Promise<ServerTime>;
  /**
   * Let another token of the same subject take the place of this one, before that ends (docs/auth.md). Of streams that it
   * does not cover (`left`) their subscriptions tell as `rejected`; a later token that does brings them back (`resumed`).
   */
  authenticate(token: string): Promise<{ expiresAt: number; left: string[] }>;
  /** Ends everything, for good. */
  close(): void;
}

/**
 * Connect to a server (`http://localhost:8080`; of a page its own origin unless given). Returns at once: what is
 * subscribed comes as soon as the connection stands.
 */
export function connect(url?: string, options?: ConnectOptions): Client;
