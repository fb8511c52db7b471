/**
 * What happened between two looks at the cluster, in words. Pure.
 * @module
 */

import { conditionsOf, count } from "./conditions.js";

/** @typedef {import("./cluster.js").Cluster} Cluster */
/** @typedef {import("./cluster.js").Replica} Replica */
/** @typedef {import("./cluster.js").Ingestor} Ingestor */

/**
 * What is news in `after`: who came, went and restarted, what was lost and refused, what began and ended to be wrong.
 * @param {Cluster} before
 * @param {Cluster} after
 * @returns {string[]}
 */
export function happeningsOf(before, after) {
  return [
    ...ofProcesses(before.replicas, after.replicas, ({ replica }) => replica, ofReplica),
    ...ofProcesses(before.ingestors, after.ingestors, ({ ingestor }) => ingestor, ofIngestor),
    ...ofConditions(before, after),
  ];
}

/**
 * @template {{uptime_s: number}} Process
 * @param {Process[]} before
 * @param {Process[]} after
 * @param {(process: Process) => string} nameOf
 * @param {(before: Process, after: Process) => string[]} changes of one that ran on
 * @returns {string[]}
 */
function ofProcesses(before, after, nameOf, changes) {
  const known = new Map(before.map((each) => [nameOf(each), each]));
  const here = new Set(after.map(nameOf));
  const gone = [...known.keys()].filter((name) => !here.has(name)).map((name) => `${name} is gone`);
  const news = after.flatMap((each) => {
    const old = known.get(nameOf(each));
    if (!old) return [`${nameOf(each)} came`];
    // Its counts began anew.
    return each.uptime_s < old.uptime_s ? [`${nameOf(each)} restarted`] : changes(old, each);
  });
  return [...gone, ...news];
}

/**
 * @param {Replica} before
 * @param {Replica} after
 * @returns {string[]}
 */
function ofReplica(before, after) {
  const name = after.replica;
  return [
    ...grown(after.gaps_total - before.gaps_total, (more) => `${name}: ${count(more, "gap")} that nobody could fill`),
    ...grown(after.dropped_total - before.dropped_total, (more) => `${name}: ${count(more, "message")} dropped for slow clients`),
    ...grown(after.slow_consumers_total - before.slow_consumers_total, (more) => `${name}: ${count(more, "slow client")} disconnected`),
    ...each(before.refused, after.refused, (reason, more) => `${name} refused ${count(more, "time")}: ${reason}`),
  ];
}

/**
 * @param {Ingestor} before
 * @param {Ingestor} after
 * @returns {string[]}
 */
function ofIngestor(before, after) {
  const name = after.ingestor;
  return [
    ...each(before.troubles, after.troubles, (trouble, more) => `${name}: ${trouble} on ${count(more, "connection")} to the exchange`),
    ...each(before.handovers, after.handovers, (reason, more) => `${name} replaced ${count(more, "connection")}: ${reason}`),
  ];
}

/**
 * @param {Cluster} before
 * @param {Cluster} after
 * @returns {string[]}
 */
function ofConditions(before, after) {
  const [old, now] = [before, after].map((cluster) => new Map(conditionsOf(cluster).map(({ key, text }) => [key, text])));
  const begun = [...now].filter(([key]) => !old.has(key)).map(([, text]) => text);
  const ended = [...old].filter(([key]) => !now.has(key)).map(([, text]) => `Over: ${text}`);
  return [...begun, ...ended];
}

/**
 * @param {Record<string, number>} before
 * @param {Record<string, number>} after
 * @param {(name: string, more: number) => string} words
 */
function each(before, after, words) {
  return Object.entries(after).flatMap(([name, total]) => grown(total - (before[name] ?? 0), (more) => words(name, more)));
}

/**
 * @param {number} more
 * @param {(more: number) => string} words
 */
function grown(more, words) {
  return more > 0 ? [words(more)] : [];
}
