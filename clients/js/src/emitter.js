/**
 * Typed events: `on` returns the function that ends it.
 * @template {object} Events name of each event and its body
 */
export class Emitter {
  /** @type {Map<keyof Events, Set<(body: any) => void>>} */
  #handlers = new Map();

  /**
   * Call `handler` with the body of each `event`.
   * @template {keyof Events} Name
   * @param {Name} event
   * @param {(body: Events[Name]) => void} handler
   * @returns {() => void} ends it
   */
  on(event, handler) {
    const handlers = this.#handlers.get(event) ?? new Set();
    this.#handlers.set(event, handlers.add(handler));
    return () => void handlers.delete(handler);
  }

  /**
   * Tell all handlers.
   * @template {keyof Events} Name
   * @param {Name} event
   * @param {Events[Name]} body
   * @returns {boolean} whether anybody listened
   */
  emit(event, body) {
    const handlers = this.#handlers.get(event);
    if (!handlers?.size) return false;
    for (const handler of [...handlers]) callSafely(handler, body);
    return true;
  }
}

/**
 * Call a handler of the application's; what it throws is thrown behind our work, where it is reported as uncaught, so
 * that one handler's mistake takes no message from another.
 * @template Body
 * @param {(body: Body) => void} handler
 * @param {Body} body
 */
export function callSafely(handler, body) {
  try {
    handler(body);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
