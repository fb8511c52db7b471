/**
 * What `/cluster` answers (docs/openapi.yaml), and how it is asked.
 * @module
 */

/** @typedef {import("../common/credentials.js").Credentials} Credentials */

/**
 * @typedef {object} Replica
 * @property {string} replica
 * @property {string} version
 * @property {string} source
 * @property {boolean} silent
 * @property {number} age_s
 * @property {number} uptime_s
 * @property {boolean} draining
 * @property {number} clients
 * @property {number} streams
 * @property {number} subscriptions
 * @property {number | null} messages_in_per_s
 * @property {number | null} messages_out_per_s
 * @property {number | null} bytes_out_per_s
 * @property {number} lagging_clients
 * @property {number} conflated_total
 * @property {number} dropped_total
 * @property {number} slow_consumers_total
 * @property {boolean} bus_connected
 * @property {number} bus_round_trip_s
 * @property {number} loop_lag_s
 * @property {number} memory_bytes
 * @property {{stream: string, members: number}[]} top_streams
 * @property {number} gaps_total
 * @property {Record<string, number>} refused
 */

/**
 * @typedef {object} Ingestor
 * @property {string} ingestor
 * @property {boolean} silent
 * @property {number} age_s
 * @property {number} uptime_s
 * @property {string} phase
 * @property {boolean} connected
 * @property {Record<string, number>} connections
 * @property {number} streams
 * @property {Record<string, {streams: number, subscribed: boolean, carriers: string[]}>} groups
 * @property {number | null} messages_per_s
 * @property {number} lag_s
 * @property {number} last_message_ms
 * @property {number} stalled
 * @property {number} books
 * @property {number} books_refused
 * @property {Record<string, number>} handovers
 * @property {Record<string, number>} troubles
 */

/**
 * @typedef {object} Totals
 * @property {number} replicas
 * @property {number} ingestors
 * @property {number} clients
 * @property {number} subscriptions
 * @property {number} lagging_clients
 * @property {number} messages_in_per_s
 * @property {number} messages_out_per_s
 * @property {number} bytes_out_per_s
 * @property {number} groups
 * @property {number} fewest_copies
 */

/**
 * @typedef {object} Cluster
 * @property {string} replica who answers
 * @property {number} timestamp ms since the epoch
 * @property {Replica[]} replicas
 * @property {Ingestor[]} ingestors
 * @property {Totals} totals
 */

const TIMEOUT_MS = 5000;
const REFUSED = [401, 403];

/**
 * The cluster as this replica sees it; who is not let in is asked for credentials until they are an operator's.
 * @param {Credentials} credentials
 * @returns {Promise<Cluster>}
 * @throws {Error} in words: no answer, or the server's own refusal
 */
export async function fetchCluster(credentials) {
  for (;;) {
    const { token, headers } = credentials;
    const { status, body } = await ask(headers);
    if (body.success) return body.data;
    if (!REFUSED.includes(status)) throw new Error(body.error ?? `HTTP ${status}`);
    await credentials.renew(token, { code: body.code, message: body.error });
  }
}

/**
 * Whether a token is an operator's.
 * @param {string} token
 * @throws {Error} in the server's words
 */
export async function checkOperator(token) {
  const { status, body } = await ask({ Authorization: `Bearer ${token}` });
  if (!body.success) throw new Error(body.error ?? `HTTP ${status}`);
}

/** @param {Record<string, string>} headers */
async function ask(headers) {
  const response = await fetch("/cluster", { headers, cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
  return { status: response.status, body: await response.json() };
}
