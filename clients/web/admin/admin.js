/**
 * The operator's view: asks the replica that serves it for the cluster, and shows what it answers.
 * @module
 */

import { find, setText } from "../common/dom.js";
import { formatAge } from "../common/format.js";
import { oncePerFrame } from "../common/frames.js";
import { Account } from "../status/account.js";
import { markOf } from "../status/lights.js";
import { Chart } from "./chart.js";
import { checkOperator, fetchCluster } from "./cluster.js";
import { INGESTOR_COLUMNS, REPLICA_COLUMNS, STREAM_COLUMNS } from "./columns.js";
import { busiestOf, formatBytes, formatCount, formatRate, formatSeconds, ingestorState, replicaState } from "./columns.js";
import { conditionsOf } from "./conditions.js";
import { happeningsOf } from "./happenings.js";
import { Journal } from "./journal.js";
import { Table } from "./table.js";

/** @typedef {import("./cluster.js").Cluster} Cluster */

const EVERY_MS = 2000;
const AGE_EVERY_MS = 1000;
const STALE_AFTER_MS = 6000;
const STREAMS = 12;

const account = new Account(/** @type {HTMLDialogElement} */ (find(document, "#login")), find(document, "#key"));
const replicas = new Table(table("#replicas"), REPLICA_COLUMNS);
const ingestors = new Table(table("#ingestors"), INGESTOR_COLUMNS);
const streams = new Table(table("#streams"), STREAM_COLUMNS);
const journal = new Journal(find(document, "#journal"));
const conditions = find(document, "#conditions");
const cards = find(document, "#cards");
/** @type {[Chart, (cluster: Cluster) => number][]} */
const charts = [
  [new Chart(cards, "Clients", formatCount), ({ totals }) => totals.clients],
  [new Chart(cards, "Messages in/s", formatRate), ({ totals }) => totals.messages_in_per_s],
  [new Chart(cards, "Messages out/s", formatRate), ({ totals }) => totals.messages_out_per_s],
  [new Chart(cards, "Bytes out/s", formatBytes), ({ totals }) => totals.bytes_out_per_s],
  [new Chart(cards, "Worst loop lag", formatSeconds), (cluster) => worst(cluster, ({ loop_lag_s }) => loop_lag_s)],
  [new Chart(cards, "Largest replica", formatBytes), (cluster) => worst(cluster, ({ memory_bytes }) => memory_bytes)],
];
/** @type {Cluster | undefined} */
let cluster;
let toldAt = 0;
let error = "";
let timer = 0;

const draw = oncePerFrame(() => {
  drawAge();
  if (!cluster) return;
  drawHead(cluster);
  for (const [chart] of charts) chart.draw();
  drawConditions(cluster);
  replicas.show(cluster.replicas, replicaState);
  const { timestamp } = cluster;
  ingestors.show(cluster.ingestors.map((one) => ({ ...one, now: timestamp - one.age_s * 1000 })), ingestorState);
  streams.show(busiestOf(cluster.replicas, STREAMS));
  journal.draw();
});

account.onChange(checkOperator);
setInterval(() => document.hidden || drawAge(), AGE_EVERY_MS);
document.addEventListener("visibilitychange", () => void look());
void look();

/** Ask, show, and ask again later; a hidden page asks nothing. */
async function look() {
  clearTimeout(timer);
  if (document.hidden) return;
  try {
    take(await fetchCluster(account.credentials));
  } catch (reason) {
    error = reason instanceof Error ? reason.message : String(reason);
  }
  draw();
  clearTimeout(timer);
  timer = setTimeout(look, EVERY_MS);
}

/** @param {Cluster} told */
function take(told) {
  if (cluster) journal.note(happeningsOf(cluster, told), told.timestamp);
  for (const [chart, valueOf] of charts) chart.note(valueOf(told), told.timestamp);
  cluster = told;
  toldAt = performance.now();
  error = "";
}

function drawAge() {
  const ageMs = performance.now() - toldAt;
  const isStale = !cluster || ageMs > STALE_AFTER_MS;
  const light = find(document, "[data-light=cluster]");
  light.dataset.state = error ? "disconnected" : isStale ? "stale" : "connected";
  setText(find(light, "[data-words]"), error || (cluster ? (isStale ? "stale" : "live") : "asking"));
  setText(find(light, "[data-age]"), cluster && isStale ? formatAge(ageMs) : "");
  document.body.toggleAttribute("data-stale", isStale);
}

/** @param {Cluster} told */
function drawHead({ replica, replicas: all, totals }) {
  const mark = find(document, "[data-mark]");
  const source = all.find((one) => one.replica === replica)?.source ?? "binance";
  setText(mark, markOf(source));
  mark.hidden = !markOf(source);
  setText(find(document, "[data-replica]"), replica);
  const figures = {
    replicas: `${totals.replicas} of ${all.length}`,
    ingestors: formatCount(totals.ingestors),
    clients: formatCount(totals.clients),
    subscriptions: formatCount(totals.subscriptions),
    lagging: formatCount(totals.lagging_clients),
    copies: totals.groups === 0 ? "–" : formatCount(totals.fewest_copies),
  };
  for (const [name, text] of Object.entries(figures)) setText(find(document, `[data-total=${name}]`), text);
}

/** @param {Cluster} told */
function drawConditions(told) {
  const found = conditionsOf(told);
  const shown = found.length > 0 ? found : [{ key: "", level: "well", text: "Nothing is wrong." }];
  const lines = shown.map(({ level, text }, at) => {
    const line = conditions.children[at] ?? conditions.appendChild(document.createElement("li"));
    if (line instanceof HTMLElement) {
      line.dataset.level = level;
      setText(line, text);
    }
    return line;
  });
  while (conditions.children.length > lines.length) conditions.lastElementChild?.remove();
}

/**
 * @param {Cluster} told
 * @param {(replica: Cluster["replicas"][number]) => number} valueOf
 */
function worst(told, valueOf) {
  return Math.max(0, ...told.replicas.filter(({ silent }) => !silent).map(valueOf));
}

/** @param {string} selector */
function table(selector) {
  return /** @type {HTMLTableElement} */ (find(document, selector));
}
