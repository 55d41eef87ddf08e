// One session's connection: made again by itself for as long as something may be left to send.

import { Refusal, ask, socketPath, socketUrl } from "../server/http.js";
import { backoff, judgeClose, judgeStatus } from "./backoff.js";
import { CLOSE, PING, STATUS, encodeChunk, hello } from "./frames.js";

/**
 * @typedef {"connecting" | "live" | "waiting" | "signed_out" | "over" | "closed"} Condition
 *   waiting: until the next attempt; over: the server won't take this session, and says why
 *
 * @typedef {{condition: Condition, detail: string, retryAtMs: number}} Connection
 * @typedef {{useful: boolean, opened: boolean, code: number, reason: string}} Ending how a socket ended
 */

const CONNECT_TIMEOUT_MS = 10_000;
const QUIET_MS = 4_000; // without a frame for so long, ask whether the server lives
const DEAD_MS = 10_000; // and after so long it doesn't
const STATUS_EVERY_MS = 2_000;
const WATCH_EVERY_MS = 500;
const USEFUL_MS = 5_000; // a connection that held for so long was one, acked or not
const GONE = 1006;

/**
 * Fires `change` when the connection's condition changes, `ack` ({seqs}) when seconds are held by the server,
 * `status` when it said what it holds, `refused` ({seq, detail}), `lost` ({seq}) where the browser threw one away,
 * `event` and `partial` as the server tells of the session (docs/reference/websocket.md).
 */
export class Link extends EventTarget {
  #sessionId;
  #store;
  #outbox;
  #account;
  /** @type {WebSocket | null} the one that has said `ready` */
  #live = null;
  #pumping = false;
  #stopped = false;
  #hurry = () => {};
  /** @type {Connection} */
  connection = { condition: "closed", detail: "", retryAtMs: 0 };
  /** @type {{last_seq: number, missing: import("./ranges.js").Ranges, bytes_stored: number} | null} */
  status = null;
  reconnects = -1;
  trouble = ""; // the server's last word about its storage, until it acks again

  /**
   * @param {string} sessionId
   * @param {import("./chunk_store.js").ChunkStore} store
   * @param {import("./outbox.js").Outbox} outbox
   * @param {import("../server/account.js").Account} account
   */
  constructor(sessionId, store, outbox, account) {
    super();
    this.#sessionId = sessionId;
    this.#store = store;
    this.#outbox = outbox;
    this.#account = account;
  }

  /** Connect, and go on until `close`, or until the server says that it is over. */
  async run() {
    const hurry = () => this.#hurry();
    globalThis.addEventListener("online", hurry);
    this.#account.addEventListener("change", hurry);
    try {
      for (let failures = 0; !this.#stopped; failures++) {
        const [verdict, detail, atLeastMs, useful] = await this.#attempt();
        if (this.#stopped) break;
        if (useful) failures = 0;
        if (verdict === "over") {
          this.#say("over", detail);
          return;
        }
        if (verdict === "signed_out") this.#account.expire();
        await this.#rest(verdict, detail, Math.max(atLeastMs, backoff(failures, Math.random())));
      }
      this.#say("closed");
    } finally {
      globalThis.removeEventListener("online", hurry);
      this.#account.removeEventListener("change", hurry);
    }
  }

  /** There is more in the outbox. */
  notice() {
    void this.#pump();
  }

  /** Say goodbye, and connect no more. */
  close() {
    this.#stopped = true;
    this.#live?.send(CLOSE);
    this.#hurry();
  }

  /** One connection from beginning to end. @returns {Promise<[import("./backoff.js").Verdict, string, number, boolean]>} */
  async #attempt() {
    this.#say("connecting");
    let ending;
    try {
      ending = await this.#serve(await this.#account.subprotocols());
    } catch (error) {
      if (!(error instanceof Refusal)) return ["again", "", 0, false];
      return [judgeStatus(error.status), error.message, (error.retryAfter ?? 0) * 1000, false];
    }
    if (ending.opened || this.#stopped) {
      return [judgeClose(ending.code), ending.reason, 0, ending.useful];
    }
    return [...(await this.#askWhy()), false];
  }

  /**
   * A browser doesn't tell a page why a handshake was refused; the same path without an upgrade does.
   *
   * @returns {Promise<[import("./backoff.js").Verdict, string, number]>}
   */
  async #askWhy() {
    try {
      await ask("GET", socketPath(this.#sessionId));
    } catch (error) {
      if (error instanceof Refusal) {
        const detail = error.status === 426 ? "" : error.message; // 426: it would serve us now
        return [judgeStatus(error.status), detail, (error.retryAfter ?? 0) * 1000];
      }
    }
    return ["again", "", 0];
  }

  /**
   * @param {string[]} protocols
   * @returns {Promise<Ending>}
   */
  #serve(protocols) {
    return new Promise((resolve) => {
      const socket = new WebSocket(socketUrl(this.#sessionId), protocols);
      const began = performance.now();
      let opened = false;
      let wasLive = false;
      let acked = false;
      let heard = began;
      let asked = began;
      let statusAt = began;
      const end = (/** @type {number} */ code, /** @type {string} */ reason) => {
        clearInterval(watch);
        socket.onopen = socket.onmessage = socket.onclose = null;
        socket.close();
        this.#live = null;
        this.#outbox.pause();
        // One that greets and closes, time after time, is no success: the waits have to grow.
        const useful = wasLive && (acked || performance.now() - began > USEFUL_MS);
        resolve({ useful, opened, code, reason });
      };
      const watch = setInterval(() => {
        const now = performance.now();
        // A page that slept (a closed lid, a hidden tab) must not blame the server: ask first.
        if (!wasLive) {
          if (now - began > CONNECT_TIMEOUT_MS) end(GONE, "");
        } else if (now - heard > DEAD_MS && asked > heard && now - asked > DEAD_MS - QUIET_MS) {
          end(GONE, "");
        } else if (now - heard > QUIET_MS && asked <= heard) {
          asked = now;
          socket.send(PING);
        } else if (now - statusAt > STATUS_EVERY_MS) {
          statusAt = now;
          socket.send(STATUS);
        }
      }, WATCH_EVERY_MS);
      socket.binaryType = "arraybuffer";
      socket.onopen = () => {
        opened = true;
        socket.send(hello(this.#sessionId));
      };
      socket.onmessage = ({ data }) => {
        heard = performance.now();
        const frame = JSON.parse(data);
        if (frame.type === "ready") {
          wasLive = true;
          this.#live = socket;
        }
        acked ||= frame.type === "ack";
        this.#take(frame);
      };
      socket.onclose = ({ code, reason }) => end(code, reason);
    });
  }

  /** @param {any} frame */
  #take(frame) {
    if (frame.type === "ready") {
      this.reconnects += 1;
      this.status = frame.ingest;
      this.#settle(this.#outbox.resume(frame));
      this.#say("live");
      void this.#pump();
      if (this.#stopped) this.#live?.send(CLOSE);
    } else if (frame.type === "ack") {
      this.trouble = "";
      if (this.#outbox.settle(frame.seq)) this.#settle([frame.seq]);
      void this.#pump();
    } else if (frame.type === "status") {
      this.status = frame;
      this.dispatchEvent(new Event("status"));
    } else if (frame.type === "event") {
      this.dispatchEvent(new CustomEvent("event", { detail: frame.event }));
    } else if (frame.type === "partial") {
      this.dispatchEvent(new CustomEvent("partial", { detail: frame }));
    } else if (frame.type === "error") {
      this.#hearError(frame);
    }
  }

  /** @param {{code: string, detail: string, seq?: number}} frame */
  #hearError({ code, detail, seq }) {
    if (code === "storage_unavailable") {
      this.trouble = detail; // the socket closes if it lasts; what is unacked goes again
      this.dispatchEvent(new Event("change"));
    } else if (seq !== undefined && this.#outbox.settle(seq)) {
      // Kept in this browser all the same: only acked seconds are removed.
      this.dispatchEvent(new CustomEvent("refused", { detail: { seq, detail } }));
      void this.#pump();
    }
  }

  /** The server holds these, and nobody here needs them any more. @param {number[]} seqs */
  #settle(seqs) {
    if (seqs.length === 0) return;
    void this.#store.remove(this.#sessionId, seqs);
    this.dispatchEvent(new CustomEvent("ack", { detail: { seqs } }));
  }

  /** Send what may be sent. One at a time, since the audio has to be read first. */
  async #pump() {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      for (let seq = this.#outbox.take(); seq !== null; seq = this.#outbox.take()) {
        const socket = this.#live;
        const chunk = await this.#store.get(this.#sessionId, seq);
        if (socket === null || socket !== this.#live) continue; // cut meanwhile: `resume` takes it up again
        if (chunk !== undefined) {
          socket.send(encodeChunk(chunk));
        } else if (this.#outbox.settle(seq)) {
          this.dispatchEvent(new CustomEvent("lost", { detail: { seq } }));
        }
      }
    } finally {
      this.#pumping = false;
    }
  }

  /**
   * Wait for the next attempt; shorter where the network comes back or somebody signs in.
   *
   * @param {import("./backoff.js").Verdict} verdict
   * @param {string} detail
   * @param {number} ms
   */
  async #rest(verdict, detail, ms) {
    const signedOut = verdict === "signed_out";
    await new Promise((resolve) => {
      this.#hurry = () => resolve(undefined);
      if (!signedOut) setTimeout(resolve, ms);
      this.#say(signedOut ? "signed_out" : "waiting", detail, Date.now() + ms);
    });
    this.#hurry = () => {};
  }

  /**
   * @param {Condition} condition
   * @param {string} [detail]
   * @param {number} [retryAtMs]
   */
  #say(condition, detail = "", retryAtMs = 0) {
    this.connection = { condition, detail, retryAtMs };
    this.dispatchEvent(new Event("change"));
  }
}
