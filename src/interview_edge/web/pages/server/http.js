// Calls of our own server. Paths are relative to where these pages are served, so that a prefix is kept.

const ROOT = new URL("../../", import.meta.url);
const TIMEOUT_MS = 30_000;

/** An answer that refuses; `code` as in docs/reference/errors.md. */
export class Refusal extends Error {
  /**
   * @param {number} status
   * @param {string} code
   * @param {string} detail
   * @param {number | null} retryAfter seconds
   */
  constructor(status, code, detail, retryAfter = null) {
    super(detail);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

/** No answer: the network, or the server, is gone. */
export class Unreachable extends Error {}

/**
 * The URL of a path of the server.
 *
 * @param {string} path without a slash in front
 */
export function urlOf(path) {
  return new URL(path, ROOT).href;
}

/** The audio socket's URL of a session. @param {string} sessionId */
export function socketUrl(sessionId) {
  return urlOf(socketPath(sessionId)).replace(/^http/, "ws");
}

/** @param {string} sessionId */
export function socketPath(sessionId) {
  return `v1/audio/ws/${encodeURIComponent(sessionId)}`;
}

/** @param {string} sessionId */
export function sessionPath(sessionId) {
  return `v1/sessions/${encodeURIComponent(sessionId)}`;
}

/** An object's key as a path: its slashes stay. @param {string} key */
export function keyPath(key) {
  return key.split("/").map(encodeURIComponent).join("/");
}

/**
 * @typedef {object} Options
 * @property {unknown} [json] a body
 * @property {string | null} [csrf]
 * @property {AbortSignal} [signal]
 * @property {boolean} [patient] without our own timeout, for downloads
 */

/**
 * @param {string} method
 * @param {string} path
 * @param {Options} [options]
 * @returns {Promise<Response>} a successful one
 * @throws {Refusal | Unreachable}
 */
export async function ask(method, path, { json, csrf, signal, patient } = {}) {
  const headers = new Headers();
  if (json !== undefined) headers.set("content-type", "application/json");
  if (csrf) headers.set("x-csrf-token", csrf);
  const limits = [...(signal ? [signal] : []), ...(patient ? [] : [AbortSignal.timeout(TIMEOUT_MS)])];
  let response;
  try {
    response = await fetch(urlOf(path), {
      method,
      headers,
      body: json === undefined ? null : JSON.stringify(json),
      cache: "no-store",
      credentials: "same-origin",
      redirect: "error",
      signal: limits.length > 0 ? AbortSignal.any(limits) : null,
    });
  } catch (error) {
    throw new Unreachable(String(error));
  }
  if (response.ok) return response;
  throw await readRefusal(response);
}

/**
 * The same, with the body as JSON.
 *
 * @param {string} method
 * @param {string} path
 * @param {Options} [options]
 * @returns {Promise<any>}
 */
export async function askJson(method, path, options) {
  const response = await ask(method, path, options);
  try {
    return await response.json();
  } catch (error) {
    throw new Unreachable(String(error)); // cut off, or somebody else's answer
  }
}

/** An error in whichever of the server's three shapes. @param {Response} response */
async function readRefusal(response) {
  const body = await response.json().catch(() => ({}));
  const inner = typeof body.error === "object" && body.error !== null ? body.error : {};
  const detail = body.detail ?? inner.message ?? body.error ?? response.statusText;
  const after = Number(response.headers.get("retry-after"));
  return new Refusal(response.status, body.code ?? inner.code ?? "", String(detail), after > 0 ? after : null);
}
