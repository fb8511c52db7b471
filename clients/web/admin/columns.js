/**
 * The columns of the tables, and how their figures are written. Pure.
 * @module
 */

import { formatAge } from "../common/format.js";

/** @typedef {import("./cluster.js").Replica} Replica */
/** @typedef {import("./cluster.js").Ingestor} Ingestor */
/** @typedef {import("./cluster.js").Cluster} Cluster */

/**
 * @template Row
 * @typedef {object} Column
 * @property {string} head
 * @property {string} [hint]
 * @property {(row: Row) => string} text
 */

const NOTHING = "–";
const compact = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });

/** @type {Column<Replica>[]} */
export const REPLICA_COLUMNS = [
  { head: "Replica", text: ({ replica }) => replica },
  { head: "State", text: replicaState },
  { head: "Version", text: ({ version }) => version },
  { head: "Up", text: ({ uptime_s }) => formatAge(uptime_s * 1000) },
  { head: "Clients", text: ({ clients }) => formatCount(clients) },
  { head: "Streams", hint: "that it receives", text: ({ streams }) => formatCount(streams) },
  { head: "In/s", hint: "messages from the bus", text: (one) => formatRate(one.messages_in_per_s) },
  { head: "Out/s", hint: "messages to clients", text: (one) => formatRate(one.messages_out_per_s) },
  { head: "Bytes/s", hint: "to clients", text: (one) => formatBytes(one.bytes_out_per_s) },
  { head: "Conflated", hint: "for slow clients, since its start", text: (one) => formatCount(one.conflated_total) },
  { head: "Dropped", hint: "for slow clients, since its start", text: (one) => formatCount(one.dropped_total) },
  { head: "Refused", hint: "since its start", text: ({ refused }) => formatCount(sum(refused)) },
  { head: "Loop lag", text: (one) => formatSeconds(one.loop_lag_s) },
  { head: "Bus trip", text: (one) => formatSeconds(one.bus_round_trip_s) },
  { head: "Memory", text: (one) => formatBytes(one.memory_bytes) },
];

/** @type {Column<Ingestor & {now: number}>[]} */
export const INGESTOR_COLUMNS = [
  { head: "Ingestor", text: ({ ingestor }) => ingestor },
  { head: "State", text: ingestorState },
  { head: "Up", text: ({ uptime_s }) => formatAge(uptime_s * 1000) },
  { head: "Feeds", hint: "open connections to the exchange", text: ({ connections }) => feedsOf(connections) },
  { head: "Streams", text: ({ streams }) => formatCount(streams) },
  { head: "Groups", hint: "of symbols: subscribed of those carried", text: ({ groups }) => groupsOf(groups) },
  { head: "In/s", hint: "messages published", text: (one) => formatRate(one.messages_per_s) },
  { head: "Lag", hint: "from received to published", text: ({ lag_s }) => formatSeconds(lag_s) },
  { head: "Last message", text: ({ last_message_ms: at, now }) => (at ? `${formatAge(now - at)} ago` : NOTHING) },
  { head: "Silent", hint: "streams on connections that are well", text: ({ stalled }) => formatCount(stalled) },
  { head: "Books", text: ({ books }) => formatCount(books) },
  { head: "Troubles", hint: "on connections, since its start", text: ({ troubles }) => formatCount(sum(troubles)) },
];

/** @type {Column<{stream: string, members: number, replicas: number}>[]} */
export const STREAM_COLUMNS = [
  { head: "Stream", text: ({ stream }) => stream },
  { head: "Members", text: ({ members }) => formatCount(members) },
  { head: "On replicas", text: ({ replicas }) => formatCount(replicas) },
];

/**
 * The streams with the most members, as far as the replicas name them: each names its own ten.
 * @param {Replica[]} replicas
 * @param {number} limit
 */
export function busiestOf(replicas, limit) {
  /** @type {Map<string, {stream: string, members: number, replicas: number}>} */
  const found = new Map();
  for (const { top_streams: named, silent } of replicas) {
    for (const { stream, members } of silent ? [] : named) {
      const known = found.get(stream) ?? { stream, members: 0, replicas: 0 };
      found.set(stream, { stream, members: known.members + members, replicas: known.replicas + 1 });
    }
  }
  return [...found.values()].sort((left, right) => right.members - left.members).slice(0, limit);
}

/** @param {Replica} one */
export function replicaState({ silent, age_s, bus_connected, draining }) {
  if (silent) return `silent ${formatAge(age_s * 1000)}`;
  if (!bus_connected) return "without bus";
  return draining ? "draining" : "serves";
}

/** @param {Ingestor} one */
export function ingestorState({ silent, age_s, connected, phase }) {
  if (silent) return `silent ${formatAge(age_s * 1000)}`;
  return connected ? phase : "feed lost";
}

/** @param {number} number */
export function formatCount(number) {
  return number.toLocaleString("en-US");
}

/** @param {number | null} perSecond */
export function formatRate(perSecond) {
  return perSecond === null ? NOTHING : compact.format(perSecond);
}

/** @param {number | null} bytes */
export function formatBytes(bytes) {
  if (bytes === null) return NOTHING;
  const units = ["B", "kB", "MB", "GB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  return `${(bytes / 1000 ** power).toFixed(power === 0 || bytes >= 100 * 1000 ** power ? 0 : 1)} ${units[power]}`;
}

/** @param {number} s */
export function formatSeconds(s) {
  return s < 1 ? `${(s * 1000).toFixed(s < 0.01 ? 1 : 0)} ms` : `${s.toFixed(1)} s`;
}

/** @param {Record<string, number>} counts */
function sum(counts) {
  return Object.values(counts).reduce((left, right) => left + right, 0);
}

/** @param {Record<string, number>} connections */
function feedsOf(connections) {
  const named = Object.entries(connections).map(([name, open]) => (open === 1 ? name : `${open} ${name}`));
  return named.join(", ") || "none";
}

/** @param {Ingestor["groups"]} groups */
function groupsOf(groups) {
  const all = Object.values(groups);
  return `${all.filter(({ subscribed }) => subscribed).length}/${all.length}`;
}
