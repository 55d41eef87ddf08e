// How long to wait before the next attempt, and what the end of the last one means.

const FIRST_MS = 300;
const LONGEST_MS = 5_000;

/**
 * Exponential, with full jitter over its upper half: clients of a restarted server don't come back all at once.
 *
 * @param {number} failures attempts since the last success, from 0
 * @param {number} random 0..1
 * @returns {number} ms
 */
export function backoff(failures, random) {
  const ceiling = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(failures, 20));
  return ceiling * (0.5 + random / 2);
}

/** @typedef {"again" | "signed_out" | "over"} Verdict */

// What we sent will be refused again (RFC 6455: 1003, 1007, 1008, 1009), no scope, the session was deleted.
const OVER = new Set([1003, 1007, 1008, 1009, 4403, 4410]);

/**
 * What a close code asks for: nearly always to come again.
 *
 * @param {number} code
 * @returns {Verdict}
 */
export function judgeClose(code) {
  if (code === 4401) return "signed_out";
  return OVER.has(code) ? "over" : "again";
}

/**
 * The same for an HTTP status, of a ticket or of the socket's path asked without an upgrade.
 *
 * @param {number} status
 * @returns {Verdict}
 */
export function judgeStatus(status) {
  if (status === 401) return "signed_out";
  if (status === 429 || status === 426 || status === 408 || status >= 500) return "again";
  return status >= 400 ? "over" : "again";
}
