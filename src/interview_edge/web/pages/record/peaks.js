// The last seconds of sound as peaks, for the waveform and the level meter. Memory is that of the ring.

import { SAMPLE_RATE, peakOf } from "../capture/pcm.js";

const STEP = SAMPLE_RATE / 50; // samples a peak: 20 ms

export class Peaks {
  #ring;
  #count = 0; // peaks so far
  #rest = new Int16Array(0);

  /** @param {number} seconds how much is kept */
  constructor(seconds) {
    this.#ring = new Float32Array(seconds * 50);
  }

  /** @param {Int16Array} pcm */
  push(pcm) {
    const all = new Int16Array(this.#rest.length + pcm.length);
    all.set(this.#rest);
    all.set(pcm, this.#rest.length);
    let at = 0;
    for (; at + STEP <= all.length; at += STEP) {
      this.#ring[this.#count++ % this.#ring.length] = peakOf(all, at, at + STEP);
    }
    this.#rest = all.slice(at);
  }

  /** How many peaks the ring holds. */
  get length() {
    return this.#ring.length;
  }

  /** The peak `ago` steps before the newest, 0..1; 0 where there is none. @param {number} ago */
  at(ago) {
    const place = this.#count - 1 - ago;
    return place < 0 || ago >= this.#ring.length ? 0 : this.#ring[place % this.#ring.length];
  }

  /** The largest of the last `steps` peaks. @param {number} steps */
  loudest(steps) {
    let peak = 0;
    for (let ago = 0; ago < steps; ago++) peak = Math.max(peak, this.at(ago));
    return peak;
  }
}
