import assert from "node:assert/strict";
import { test } from "node:test";

import { busiestOf, formatBytes, formatRate, formatSeconds, ingestorState, replicaState } from "../../clients/web/admin/columns.js";
import { conditionsOf } from "../../clients/web/admin/conditions.js";
import { happeningsOf } from "../../clients/web/admin/happenings.js";
import { HEIGHT, Series, WIDTH } from "../../clients/web/admin/series.js";

const replica = (change = {}) => ({
  replica: "app1", version: "1", silent: false, age_s: 1, uptime_s: 10, draining: false, bus_connected: true, loop_lag_s: 0.001,
  lagging_clients: 0, dropped_total: 0, slow_consumers_total: 0, gaps_total: 0, refused: {}, top_streams: [], ...change,
});
const ingestor = (change = {}) => ({
  ingestor: "in1", silent: false, age_s: 1, uptime_s: 10, phase: "live", connected: true, streams: 3, lag_s: 0.001,
  last_message_ms: 99_000, stalled: 0, books_refused: 0, handovers: {}, troubles: {}, ...change,
});
const cluster = (replicas = [replica()], ingestors = [ingestor()], totals = {}) => ({
  timestamp: 100_000, replicas, ingestors, totals: { ingestors: 1, groups: 1, fewest_copies: 1, ...totals },
});
const wrong = (...parts) => conditionsOf(cluster(...parts)).map(({ text }) => text);

test("nothing is wrong while all is well", () => {
  assert.deepEqual(wrong(), []);
});

test("each thing that is wrong has its sentence", () => {
  const ofReplica = {
    "app1 has said nothing for 8 s": { silent: true, age_s: 8.9, bus_connected: false },
    "app1 has lost the bus": { bus_connected: false },
    "The event loop of app1 is 140 ms late": { loop_lag_s: 0.14 },
    "1 client of app1 read too slowly": { lagging_clients: 1 },
    "app1 is draining: its clients move elsewhere": { draining: true },
  };
  for (const [text, change] of Object.entries(ofReplica)) assert.deepEqual(wrong([replica(change)]), [text]);
  const ofIngestor = {
    "in1 has said nothing for 7 s": { silent: true, age_s: 7 },
    "in1 has lost a connection to the exchange": { connected: false },
    "The exchange has said nothing to in1 for 13 s": { last_message_ms: 86_000 },
    "in1 publishes 700 ms after receiving": { lag_s: 0.7 },
    "4 streams of in1 silent on connections that are well": { stalled: 4 },
    "in1 has no room for 1 book": { books_refused: 1 },
    "in1 is joining": { phase: "joining" },
  };
  for (const [text, change] of Object.entries(ofIngestor)) assert.deepEqual(wrong([replica()], [ingestor(change)]), [text]);
  assert.deepEqual(wrong([replica()], [], { ingestors: 0 }), ["No ingestor is heard: nothing comes from the exchange"]);
  assert.deepEqual(wrong([replica()], [ingestor()], { ingestors: 2 }), ["Some symbols come once only, not twice"]);
  const mixed = [replica(), replica({ replica: "app2", version: "2" })];
  assert.deepEqual(wrong(mixed), ["Replicas run different versions: 1, 2"]);
});

test("an old announcement is no silence of the exchange, and who carries nothing may hear nothing", () => {
  assert.deepEqual(wrong([replica()], [ingestor({ last_message_ms: 94_000, age_s: 5.5 })]), []);
  assert.deepEqual(wrong([replica()], [ingestor({ last_message_ms: 1, streams: 0 })]), []);
});

test("what clients notice stands first", () => {
  const levels = conditionsOf(cluster([replica({ draining: true }), replica({ replica: "app2", silent: true })])).map(({ level }) => level);
  assert.deepEqual(levels, ["bad", "note"]);
});

test("what happened is told by who came and went, what counts grew, and what began and ended", () => {
  const before = cluster([replica(), replica({ replica: "app2" })], [ingestor({ troubles: { refused: 1 } })]);
  const after = cluster(
    [
      replica({ dropped_total: 2, slow_consumers_total: 1, gaps_total: 1, refused: { streams: 3 }, draining: true }),
      replica({ replica: "app3" }),
    ],
    [ingestor({ troubles: { refused: 3 }, handovers: { age: 1 } })],
  );
  assert.deepEqual(happeningsOf(before, after), [
    "app2 is gone",
    "app1: 1 gap that nobody could fill",
    "app1: 2 messages dropped for slow clients",
    "app1: 1 slow client disconnected",
    "app1 refused 3 times: streams",
    "app3 came",
    "in1: refused on 2 connections to the exchange",
    "in1 replaced 1 connection: age",
    "app1 is draining: its clients move elsewhere",
  ]);
  assert.ok(happeningsOf(after, before).includes("Over: app1 is draining: its clients move elsewhere"));
});

test("the counts of a process that restarted are none that grew", () => {
  const again = cluster([replica({ uptime_s: 1, dropped_total: 5 })]);
  assert.deepEqual(happeningsOf(cluster(), again), ["app1 restarted"]);
});

test("a line ends at the right edge, and what is too old is left out", () => {
  const series = new Series(120_000, 3);
  for (const [value, at] of [[5, 0], [0, 60_001], [10, 120_001], [20, 180_001], [20, 180_001]]) series.note(value, at);
  assert.equal(series.line, `0.0,${HEIGHT / 2}.0 ${WIDTH}.0,2.0 ${WIDTH}.0,2.0`); // the lower edge is 0
  assert.deepEqual([series.last, series.lowest, series.highest, series.spanMs], [20, 10, 20, 60_000]);
  series.note(1, 180_001 + 120_000);
  assert.deepEqual([series.line, series.highest], [`${WIDTH}.0,2.0`, 1]);
  const young = new Series(120_000, 3);
  for (const at of [0, 15_000]) young.note(1, at);
  assert.equal(young.line.split(" ")[0], `${WIDTH / 2}.0,2.0`);
});

test("the busiest streams are added up over replicas that speak", () => {
  const named = (members) => [{ stream: "a", members }, { stream: "b", members: 3 }];
  const replicas = [replica({ top_streams: named(2) }), replica({ top_streams: named(9) }), replica({ silent: true, top_streams: named(99) })];
  assert.deepEqual(busiestOf(replicas, 1), [{ stream: "a", members: 11, replicas: 2 }]);
});

test("figures are written in a few digits and a unit", () => {
  assert.deepEqual([0, 999, 2_900, 112_000_000, 3e12].map(formatBytes), ["0 B", "999 B", "2.9 kB", "112 MB", "3000 GB"]);
  assert.deepEqual([null, 0.5, 1234].map(formatRate), ["–", "0.5", "1.2K"]);
  assert.deepEqual([0.0004, 0.25, 2].map(formatSeconds), ["0.4 ms", "250 ms", "2.0 s"]);
  assert.deepEqual([{}, { silent: true, age_s: 70 }].map((change) => replicaState(replica(change))), ["serves", "silent 1 min"]);
  assert.deepEqual([{}, { connected: false }].map((change) => ingestorState(ingestor(change))), ["live", "feed lost"]);
});
