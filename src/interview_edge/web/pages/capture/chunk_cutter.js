// A stream of samples cut into chunks: seconds, numbered from 1, the last one shorter and marked final.

import { CHUNK_SAMPLES } from "./pcm.js";

/**
 * @typedef {object} Chunk
 * @property {number} seq from 1
 * @property {number} timestampMs when its first sample was taken, epoch ms
 * @property {boolean} final whether the stream ends with it
 * @property {ArrayBuffer} pcm s16le; 32,000 bytes, or 2..32,000 where final
 */

export class ChunkCutter {
  #buffer = new Int16Array(CHUNK_SAMPLES);
  #filled = 0;
  #startedMs = 0;
  #nextSeq;

  /** @param {number} [nextSeq] the seq of the first chunk */
  constructor(nextSeq = 1) {
    this.#nextSeq = nextSeq;
  }

  get nextSeq() {
    return this.#nextSeq;
  }

  /** Samples that are in no chunk yet: 0..16,000. */
  get pending() {
    return this.#filled;
  }

  /**
   * Take samples; answer the chunks that are full. A second is let go when the sample after it comes: so that
   * whenever the end comes, there is something to mark as final.
   *
   * @param {Int16Array} samples
   * @param {number} nowMs epoch ms at which the last of them was taken
   * @returns {Chunk[]}
   */
  push(samples, nowMs) {
    const chunks = [];
    let at = 0;
    while (at < samples.length) {
      if (this.#filled === CHUNK_SAMPLES) chunks.push(this.#cut(false));
      if (this.#filled === 0) this.#startedMs = nowMs - ((samples.length - at) * 1000) / CHUNK_SAMPLES;
      const taken = Math.min(samples.length - at, CHUNK_SAMPLES - this.#filled);
      this.#buffer.set(samples.subarray(at, at + taken), this.#filled);
      this.#filled += taken;
      at += taken;
    }
    return chunks;
  }

  /**
   * The end: the final chunk, or null where nothing was recorded.
   *
   * @returns {Chunk | null}
   */
  finish() {
    return this.#filled === 0 ? null : this.#cut(true);
  }

  /** @param {boolean} final @returns {Chunk} */
  #cut(final) {
    const pcm = this.#buffer.slice(0, this.#filled).buffer;
    this.#filled = 0;
    const timestampMs = Math.max(1, Math.round(this.#startedMs));
    return { seq: this.#nextSeq++, timestampMs, final, pcm };
  }
}
