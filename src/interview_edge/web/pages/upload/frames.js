// The chunk dialect's frames, as this page sends them (docs/reference/websocket.md).

const HEADER_BYTES = 16;
const VERSION = 1;
const FINAL = 1;

/**
 * A chunk as a binary message: 16 bytes of header, little-endian, then the PCM.
 *
 * @param {import("../capture/chunk_cutter.js").Chunk} chunk
 * @returns {ArrayBuffer}
 */
export function encodeChunk(chunk) {
  const message = new Uint8Array(HEADER_BYTES + chunk.pcm.byteLength);
  const header = new DataView(message.buffer);
  header.setUint8(0, 0x49); // I
  header.setUint8(1, 0x45); // E
  header.setUint8(2, VERSION);
  header.setUint8(3, chunk.final ? FINAL : 0);
  header.setUint32(4, chunk.seq, true);
  header.setBigUint64(8, BigInt(chunk.timestampMs), true);
  message.set(new Uint8Array(chunk.pcm), HEADER_BYTES);
  return message.buffer;
}

/** @param {string} sessionId */
export function hello(sessionId) {
  const format = { sample_rate: 16_000, channels: 1, format: "pcm_s16le" };
  return JSON.stringify({ type: "hello", meeting_id: sessionId, ...format, events: true });
}

export const STATUS = JSON.stringify({ type: "status" });
export const PING = JSON.stringify({ type: "ping" });
export const CLOSE = JSON.stringify({ type: "close", reason: "over" });
