/**
 * What is wrong now, in words. Pure.
 * @module
 */

/** @typedef {import("./cluster.js").Cluster} Cluster */
/** @typedef {import("./cluster.js").Replica} Replica */
/** @typedef {import("./cluster.js").Ingestor} Ingestor */

/**
 * @typedef {object} Condition
 * @property {string} key the same while it lasts
 * @property {"bad" | "note"} level bad where clients notice
 * @property {string} text
 */

/** As the alerts of deploy/prometheus/alerts.yml have it, or sooner: this is looked at, and wakes nobody. */
const [LATE_LOOP_S, LATE_PUBLISH_S, SILENT_EXCHANGE_S] = [0.1, 0.5, 5];

/**
 * Everything that somebody should know, the worst first.
 * @param {Cluster} cluster
 * @returns {Condition[]}
 */
export function conditionsOf({ timestamp, replicas, ingestors, totals }) {
  const found = [
    ...replicas.flatMap(ofReplica),
    ...ingestors.flatMap((ingestor) => ofIngestor(ingestor, timestamp)),
    ...ofWhole(replicas, totals),
  ];
  return found.sort((left, right) => Number(left.level === "note") - Number(right.level === "note"));
}

/**
 * @param {Replica} one
 * @returns {Condition[]}
 */
function ofReplica(one) {
  const { replica: name, lagging_clients: lagging } = one;
  if (one.silent) return [bad(`${name} silent`, `${name} has said nothing for ${seconds(one.age_s)}`)];
  return [
    ...when(!one.bus_connected, bad(`${name} bus`, `${name} has lost the bus`)),
    ...when(one.loop_lag_s > LATE_LOOP_S, note(`${name} loop`, `The event loop of ${name} is ${ms(one.loop_lag_s)} late`)),
    ...when(lagging > 0, note(`${name} lagging`, `${count(lagging, "client")} of ${name} read too slowly`)),
    ...when(one.draining, note(`${name} draining`, `${name} is draining: its clients move elsewhere`)),
  ];
}

/**
 * @param {Ingestor} one
 * @param {number} nowMs of the server's clock
 * @returns {Condition[]}
 */
function ofIngestor(one, nowMs) {
  const { ingestor: name, stalled, books_refused: refused } = one;
  if (one.silent) return [bad(`${name} silent`, `${name} has said nothing for ${seconds(one.age_s)}`)];
  // What it says is as old as its latest announcement.
  const silence_s = (nowMs - one.last_message_ms) / 1000 - one.age_s;
  const isSilent = one.last_message_ms > 0 && one.streams > 0 && silence_s > SILENT_EXCHANGE_S;
  return [
    ...when(!one.connected, bad(`${name} exchange`, `${name} has lost a connection to the exchange`)),
    ...when(isSilent, bad(`${name} silence`, `The exchange has said nothing to ${name} for ${seconds(silence_s)}`)),
    ...when(one.lag_s > LATE_PUBLISH_S, bad(`${name} lag`, `${name} publishes ${ms(one.lag_s)} after receiving`)),
    ...when(stalled > 0, note(`${name} stalled`, `${count(stalled, "stream")} of ${name} silent on connections that are well`)),
    ...when(refused > 0, note(`${name} books`, `${name} has no room for ${count(refused, "book")}`)),
    ...when(one.phase !== "live", note(`${name} phase`, `${name} is ${one.phase}`)),
  ];
}

/**
 * @param {Replica[]} replicas
 * @param {Cluster["totals"]} totals
 * @returns {Condition[]}
 */
function ofWhole(replicas, totals) {
  const versions = [...new Set(replicas.filter(({ silent }) => !silent).map(({ version }) => version))].sort();
  const isThin = totals.groups > 0 && totals.ingestors > 1 && totals.fewest_copies < 2;
  const copies = totals.fewest_copies === 1 ? "once only" : "not at all yet";
  return [
    ...when(totals.ingestors === 0, bad("no ingestor", "No ingestor is heard: nothing comes from the exchange")),
    ...when(isThin, note("copies", `Some symbols come ${copies}, not twice`)),
    ...when(versions.length > 1, note("versions", `Replicas run different versions: ${versions.join(", ")}`)),
  ];
}

/**
 * @param {boolean} isSo
 * @param {Condition} condition
 */
function when(isSo, condition) {
  return isSo ? [condition] : [];
}

/**
 * @param {string} key
 * @param {string} text
 * @returns {Condition}
 */
function bad(key, text) {
  return { key, level: "bad", text };
}

/**
 * @param {string} key
 * @param {string} text
 * @returns {Condition}
 */
function note(key, text) {
  return { key, level: "note", text };
}

/**
 * @param {number} number
 * @param {string} noun
 * @returns {string} `1 client`, `3 clients`
 */
export function count(number, noun) {
  return `${number.toLocaleString("en-US")} ${noun}${number === 1 ? "" : "s"}`;
}

/** @param {number} s */
function seconds(s) {
  return `${Math.floor(s)} s`;
}

/** @param {number} s */
function ms(s) {
  return `${Math.round(s * 1000)} ms`;
}
