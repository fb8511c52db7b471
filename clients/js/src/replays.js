import { TickcastError } from "./errors.js";
import { Replay } from "./replay.js";

/** @typedef {import("./streams.js").Call} Call */
/** @typedef {import("../types/index.d.ts").Message} Message */
/** @typedef {import("../types/index.d.ts").ReplayEnd} ReplayEnd */

/** More are not asked for at once; a server has 2 of a client. */
const MAX_ASKED = 16;

/** The replays of one connection; they end with it. */
export class Replays {
  /** @type {Set<Replay>} */
  #asked = new Set();
  /** @type {Map<string, Replay>} */
  #running = new Map();
  #call;

  /** @param {Call} call */
  constructor(call) {
    this.#call = call;
  }

  /**
   * @param {{onMessage?: (message: any) => void, queueLimit?: number} & Record<string, unknown>} request
   * @returns {Replay}
   * @throws {TickcastError} `replay_limit`
   */
  start({ onMessage, queueLimit, ...wish }) {
    if (this.#asked.size >= MAX_ASKED) {
      throw new TickcastError({ code: "replay_limit", message: `${MAX_ASKED} replays are being asked for` });
    }
    const replay = new Replay({ onMessage, queueLimit }, (stopped) => this.#stop(stopped));
    this.#asked.add(replay);
    this.#call("getReplay", wish, (error, answer) => {
      if (!this.#asked.delete(replay)) return;
      if (error) replay.fail(new TickcastError({ code: "no_answer", message: error.message }));
      else if (!answer.ok) replay.fail(new TickcastError(answer));
      else this.#begin(replay, answer);
    });
    return replay;
  }

  /**
   * @param {string} id
   * @param {Message} message
   */
  route(id, message) {
    this.#running.get(id)?.take(message);
  }

  /** @param {ReplayEnd} end */
  finish(end) {
    this.#running.get(end.id)?.finish(end);
    this.#running.delete(end.id);
  }

  /** The connection is gone. */
  disconnect() {
    const error = new TickcastError({ code: "disconnected", message: "The connection of the replay broke" });
    for (const replay of [...this.#asked, ...this.#running.values()]) replay.fail(error);
    this.#asked.clear();
    this.#running.clear();
  }

  /**
   * @param {Replay} replay
   * @param {import("../types/index.d.ts").ReplayStart & {ok: true}} answer
   */
  #begin(replay, { ok: _, ...start }) {
    this.#running.set(start.id, replay);
    replay.begin(start);
  }

  /** @param {Replay} replay */
  async #stop(replay) {
    await replay.started.catch(() => {}); // then there is nothing to stop
    for (const [id, running] of this.#running) {
      // `replayEnd` follows the answer, and ends the loop. What is refused has ended by itself.
      if (running === replay) await new Promise((done) => this.#call("stopReplay", { id }, done));
    }
  }
}
