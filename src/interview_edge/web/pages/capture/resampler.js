// Any sample rate to 16 kHz, in pieces: a polyphase windowed-sinc low-pass (after J. O. Smith). For browsers whose
// audio graph doesn't run at 16 kHz; the same filter as the command line's (core/resample.py): flat to 7 kHz,
// 80 dB down from 8 kHz on.

import { SAMPLE_RATE } from "./pcm.js";

const ZERO_CROSSINGS = 64; // of the sinc, each side: what 80 dB and a 0.7 kHz transition band take
const CUTOFF = 0.955; // of the lower Nyquist frequency, so that the transition ends at it
const BETA = 9; // Kaiser: side lobes about 90 dB down

export class Resampler {
  #up;
  #down;
  #half;
  #phases;
  #input; // from absolute index #first on; before index 0 there is silence
  #first;
  #fed = 0;
  #done = 0;

  /**
   * `feed` answers what is complete so far, `finish` the rest: together ceil(inputs * 16000 / rate) samples,
   * without delay. At 16 kHz samples pass untouched.
   *
   * @param {number} rate Hz, a whole number
   */
  constructor(rate) {
    if (!Number.isInteger(rate) || rate < 1_000 || rate > 384_000) {
      throw new RangeError(`sample rate must be 1,000..384,000 Hz, got ${rate}`);
    }
    const divisor = greatestCommonDivisor(rate, SAMPLE_RATE);
    this.#up = SAMPLE_RATE / divisor;
    this.#down = rate / divisor;
    this.#half = Math.ceil(ZERO_CROSSINGS * Math.max(1, this.#down / this.#up));
    this.#phases = this.#up === this.#down ? [] : makePhases(this.#up, this.#down, this.#half);
    this.#input = new Float32Array(this.#half - 1);
    this.#first = 1 - this.#half;
  }

  /**
   * @param {Float32Array} samples
   * @returns {Float32Array}
   */
  feed(samples) {
    this.#fed += samples.length;
    return this.#up === this.#down ? samples : this.#advance(samples);
  }

  /**
   * The outputs that waited for input that didn't come.
   *
   * @returns {Float32Array}
   */
  finish() {
    if (this.#up === this.#down) return new Float32Array(0);
    const wanted = Math.ceil((this.#fed * this.#up) / this.#down) - this.#done;
    return this.#advance(new Float32Array(this.#half)).subarray(0, wanted);
  }

  /** @param {Float32Array} samples */
  #advance(samples) {
    const input = new Float32Array(this.#input.length + samples.length);
    input.set(this.#input);
    input.set(samples, this.#input.length);
    // Output n reads inputs up to floor(n * down / up) + half, which must lie before the end.
    const end = this.#first + input.length;
    const ready = Math.max(this.#done, Math.ceil(((end - this.#half) * this.#up) / this.#down));
    const outputs = new Float32Array(ready - this.#done);
    for (let n = this.#done; n < ready; n++) {
      const place = n * this.#down;
      const taps = this.#phases[place % this.#up];
      const start = Math.floor(place / this.#up) - this.#half + 1 - this.#first;
      let sum = 0;
      for (let k = 0; k < taps.length; k++) sum += taps[k] * input[start + k];
      outputs[n - this.#done] = sum;
    }
    this.#done = ready;
    const keep = Math.floor((ready * this.#down) / this.#up) - this.#half + 1 - this.#first;
    this.#input = input.slice(keep);
    this.#first += keep;
    return outputs;
  }
}

/**
 * One row of 2 * half taps for each place that an output can have between two inputs.
 *
 * @param {number} up
 * @param {number} down
 * @param {number} half
 */
function makePhases(up, down, half) {
  const cutoff = CUTOFF * Math.min(1, up / down);
  return Array.from({ length: up }, (_, phase) => {
    const taps = new Float32Array(2 * half);
    let sum = 0;
    for (let k = 0; k < taps.length; k++) {
      const distance = k - half + 1 - phase / up;
      taps[k] = cutoff * sinc(cutoff * distance) * kaiser(distance / half);
      sum += taps[k];
    }
    return taps.map((tap) => tap / sum); // each phase passes a constant unchanged
  });
}

/** @param {number} x */
function sinc(x) {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

/** @param {number} x -1..1 */
function kaiser(x) {
  return Math.abs(x) >= 1 ? 0 : besselI0(BETA * Math.sqrt(1 - x * x)) / besselI0(BETA);
}

/** The modified Bessel function of order 0, by its series. @param {number} x */
function besselI0(x) {
  let term = 1;
  let sum = 1;
  for (let k = 1; term > 1e-12 * sum; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

/** @param {number} a @param {number} b @returns {number} */
function greatestCommonDivisor(a, b) {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
