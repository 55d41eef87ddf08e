// What is still to be sent, and what waits for its ack: seqs only, the audio is in the chunk store. No I/O.
// The same rules as the Python client's (client/outbox.py).

import { holds } from "./ranges.js";

export class Outbox {
  /** @type {Set<number>} kept until acked, in the order of adding */
  #unacked = new Set();
  /** @type {Set<number>} */
  #onWire = new Set();
  /** @type {number[]} */
  #queue = [];
  #window = 0; // how many may be on the wire: none without a connection

  /** How many wait for their ack. */
  get size() {
    return this.#unacked.size;
  }

  /** How many are sent and not acked. */
  get onWire() {
    return this.#onWire.size;
  }

  /** @param {number} seq */
  waits(seq) {
    return this.#unacked.has(seq);
  }

  /** @param {number} seq */
  add(seq) {
    if (this.#unacked.has(seq)) throw new RangeError(`chunk ${seq} waits for its ack already`);
    this.#unacked.add(seq);
    this.#queue.push(seq);
  }

  /** What is to be sent next; null when nothing is, the window is full, or nobody is connected. */
  take() {
    if (this.#queue.length === 0 || this.#onWire.size >= this.#window) return null;
    const seq = /** @type {number} */ (this.#queue.shift());
    this.#onWire.add(seq);
    return seq;
  }

  /**
   * The chunk was acked, or can't be: forget it. Answers whether it was waited for.
   *
   * @param {number} seq
   */
  settle(seq) {
    this.#onWire.delete(seq);
    return this.#unacked.delete(seq);
  }

  /** The connection is gone: nothing goes out until `resume`. */
  pause() {
    this.#window = 0;
    this.#onWire.clear();
  }

  /**
   * A new connection stands where `ready` says: answers the seqs that the server holds, which are settled now.
   * All others go again. Past the end of a truncated list of missing ranges nothing is known: those go again too,
   * as duplicates.
   *
   * @param {{missing: import("./ranges.js").Ranges, missing_truncated?: boolean, max_in_flight: number,
   *   ingest: {last_seq: number}}} ready
   * @returns {number[]}
   */
  resume(ready) {
    const missing = ready.missing;
    const knownTo = ready.missing_truncated ? missing[missing.length - 1][1] : ready.ingest.last_seq;
    const held = [...this.#unacked].filter((seq) => seq <= knownTo && !holds(missing, seq));
    held.forEach((seq) => this.#unacked.delete(seq));
    this.#window = ready.max_in_flight;
    this.#onWire.clear();
    this.#queue = [...this.#unacked];
    return held;
  }
}
