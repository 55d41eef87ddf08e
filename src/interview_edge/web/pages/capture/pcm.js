// Samples as the chunk dialect has them: 16 kHz, mono, signed 16-bit little-endian.

export const SAMPLE_RATE = 16_000; // Hz
export const CHUNK_SAMPLES = SAMPLE_RATE; // one second a chunk

/**
 * Float samples (-1..1) to 16-bit ones, rounded and clamped: the inverse of a division by 32,768. Chromium
 * divides positive samples by 32,767, so that there some come out one off from what went in.
 *
 * An Int16Array has the machine's byte order: little-endian wherever browsers run.
 *
 * @param {Float32Array} samples
 * @returns {Int16Array}
 */
export function toPcm16(samples) {
  const pcm = new Int16Array(samples.length);
  for (let i = 0; i < samples.length; i++) {
    pcm[i] = Math.max(-32_768, Math.min(32_767, Math.round(samples[i] * 32_768)));
  }
  return pcm;
}

/**
 * The largest absolute value, 0..1.
 *
 * @param {Int16Array} pcm
 * @param {number} [from]
 * @param {number} [to]
 * @returns {number}
 */
export function peakOf(pcm, from = 0, to = pcm.length) {
  let peak = 0;
  for (let i = from; i < to; i++) {
    const size = Math.abs(pcm[i]);
    if (size > peak) peak = size;
  }
  return peak / 32_768;
}

/**
 * PCM as a WAV file's bytes, for players that don't take raw PCM.
 *
 * @param {ArrayBuffer[]} parts s16le mono at 16 kHz
 * @returns {Blob}
 */
export function wavOf(parts) {
  const size = parts.reduce((sum, part) => sum + part.byteLength, 0);
  const head = new DataView(new ArrayBuffer(44));
  const text = (/** @type {number} */ at, /** @type {string} */ word) =>
    [...word].forEach((letter, i) => head.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  head.setUint32(4, 36 + size, true);
  text(8, "WAVEfmt ");
  head.setUint32(16, 16, true);
  head.setUint16(20, 1, true); // PCM
  head.setUint16(22, 1, true); // mono
  head.setUint32(24, SAMPLE_RATE, true);
  head.setUint32(28, SAMPLE_RATE * 2, true);
  head.setUint16(32, 2, true);
  head.setUint16(34, 16, true);
  text(36, "data");
  head.setUint32(40, size, true);
  return new Blob([head.buffer, ...parts], { type: "audio/wav" });
}
