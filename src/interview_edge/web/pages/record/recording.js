// One session of this browser: microphone → chunks → kept here → sent → acked → forgotten here.

import { ChunkCutter } from "../capture/chunk_cutter.js";
import { Microphone } from "../capture/microphone.js";
import { SAMPLE_RATE, toPcm16 } from "../capture/pcm.js";
import { askJson, sessionPath } from "../server/http.js";
import { Follower } from "../transcript/follower.js";
import { Link } from "../upload/link.js";
import { Outbox } from "../upload/outbox.js";
import { holds } from "../upload/ranges.js";
import { Peaks } from "./peaks.js";

/**
 * @typedef {import("../upload/chunk_store.js").Unfinished} Unfinished
 * @typedef {import("../capture/chunk_cutter.js").Chunk} Chunk
 *
 * @typedef {"opening" | "recording" | "sending" | "held" | "finalizing" | "finalized"} Phase
 *   sending: the microphone is closed, acks are owed; held: the server has every second
 * @typedef {"held" | "sent" | "waiting" | "missing" | "none"} Standing how a second stands
 */

const WAVEFORM_SECONDS = 10;

/**
 * Fires `change` when anything but the sound changes, `chunk` (a Chunk) for each second as it is captured, and
 * `trouble` where the microphone goes away while it records.
 */
export class Recording extends EventTarget {
  #session;
  #store;
  #account;
  #outbox = new Outbox();
  #cutter;
  /** @type {Microphone | null} */
  #microphone = null;
  #keeping = Promise.resolve(); // chunks are kept one after the other
  #capturing = false; // there may be more chunks
  #unkept = 0; // chunks that the store hasn't taken yet
  #acked = 0;
  #lost = 0;
  /** @type {{seq: number, detail: string}[]} */
  refused = [];
  /** @type {Phase} */
  phase = "opening";
  peaks = new Peaks(WAVEFORM_SECONDS);
  link;
  transcript;

  /**
   * @param {Unfinished} session a new one, or one that was begun before
   * @param {import("../upload/chunk_store.js").ChunkStore} store
   * @param {import("../server/account.js").Account} account
   */
  constructor(session, store, account) {
    super();
    this.#session = session;
    this.#store = store;
    this.#account = account;
    this.#cutter = new ChunkCutter(session.nextSeq);
    this.link = new Link(session.id, store, this.#outbox, account);
    this.transcript = new Follower(session.id, this.link, account);
    const changed = () => this.#changed();
    this.link.addEventListener("change", changed);
    this.link.addEventListener("status", changed);
    this.link.addEventListener("ack", (event) => {
      this.#acked += /** @type {CustomEvent} */ (event).detail.seqs.length;
      this.#changed();
    });
    this.link.addEventListener("lost", () => {
      this.#lost += 1;
      this.#changed();
    });
    this.link.addEventListener("refused", (event) => {
      this.refused.push(/** @type {CustomEvent} */ (event).detail);
      this.#changed();
    });
  }

  // -- what there is to see

  get id() {
    return this.#session.id;
  }

  get startedMs() {
    return this.#session.startedMs;
  }

  get recording() {
    return this.phase === "recording";
  }

  /** Nothing goes on any more: the server has it all, or won't have it. */
  get over() {
    if (this.phase === "sending") return !this.#capturing && this.link.connection.condition === "over";
    return this.phase === "held" || this.phase === "finalizing" || this.phase === "finalized";
  }

  /** Seconds captured in this page, the one under way included. */
  get capturedSeconds() {
    return this.#cutter.nextSeq - this.#session.nextSeq + this.#cutter.pending / SAMPLE_RATE;
  }

  /** Chunks that the server has acked in this page. */
  get acked() {
    return this.#acked;
  }

  /** Chunks that no ack has come for. */
  get unacked() {
    return this.#outbox.size + this.#unkept;
  }

  /** The highest seq that was captured. */
  get lastSeq() {
    return this.#cutter.nextSeq - 1;
  }

  /** Chunks that this browser threw away before they were acked, or that the server refused. */
  get lost() {
    return this.#lost + this.refused.length;
  }

  /** Whether a second is still to be acked. @param {number} seq */
  waitsFor(seq) {
    return this.#outbox.waits(seq);
  }

  /** The microphone's counters and rate; null without one. */
  get capture() {
    const microphone = this.#microphone;
    return microphone && { ...microphone.counters, rate: microphone.rate, label: microphone.label };
  }

  /** How a second stands. @param {number} seq @returns {Standing} */
  standingOf(seq) {
    if (seq < 1 || seq > this.lastSeq) return "none";
    if (this.#outbox.waits(seq)) return this.link.connection.condition === "live" ? "sent" : "waiting";
    return holds(this.link.status?.missing ?? [], seq) ? "missing" : "held";
  }

  // -- what can be done

  /**
   * Record from a microphone until `stop`.
   *
   * @param {string} deviceId
   * @throws {DOMException} as Microphone.open
   */
  async record(deviceId) {
    this.#microphone = await Microphone.open(deviceId, (samples) => this.#take(samples));
    this.#microphone.ontrouble = () => this.dispatchEvent(new Event("trouble"));
    this.phase = "recording";
    this.#capturing = true;
    await this.#connect();
  }

  /** Send what is kept here, and capture nothing more. */
  async sendRest() {
    this.phase = "sending";
    await this.#connect();
    this.#settleUp();
  }

  /** End the recording: the rest of the last second goes as the final chunk. */
  async stop() {
    if (this.phase !== "recording") return;
    this.phase = "sending";
    this.#changed();
    await this.#microphone?.close();
    const last = this.#cutter.finish();
    if (last !== null) this.#keep(last);
    this.#capturing = false;
    await this.#keeping;
    this.#settleUp();
  }

  /**
   * Write result.json, and be done.
   *
   * @returns {Promise<{complete: boolean, missing: import("../upload/ranges.js").Ranges, result_key: string}>}
   * @throws {import("../server/http.js").Refusal | import("../server/http.js").Unreachable}
   */
  async finalize() {
    this.phase = "finalizing";
    this.#changed();
    try {
      const path = `${sessionPath(this.id)}/finalize`;
      const result = await askJson("POST", path, { json: {}, csrf: this.#account.csrf, patient: true });
      this.phase = "finalized";
      void this.transcript.outlast();
      return result;
    } catch (error) {
      this.phase = "held";
      throw error;
    } finally {
      this.#changed();
    }
  }

  /** Try again what the server refused for good, as after somebody was given the right to it. */
  retry() {
    if (this.link.connection.condition === "over") void this.link.run();
  }

  // -- inside

  async #connect() {
    for (const seq of await this.#store.seqs(this.id)) {
      if (!this.#outbox.waits(seq)) this.#outbox.add(seq);
    }
    void this.link.run();
    this.#changed();
  }

  /** @param {Float32Array} samples */
  #take(samples) {
    const pcm = toPcm16(samples);
    this.peaks.push(pcm);
    this.#cutter.push(pcm, Date.now()).forEach((chunk) => this.#keep(chunk));
  }

  /** Keep a chunk here, and only then send it. @param {Chunk} chunk */
  #keep(chunk) {
    this.dispatchEvent(new CustomEvent("chunk", { detail: chunk }));
    const session = { ...this.#session, nextSeq: chunk.seq + 1, ended: chunk.final };
    this.#unkept += 1;
    this.#keeping = this.#keeping
      .then(() => this.#store.put(session, chunk))
      .then(() => {
        this.#unkept -= 1;
        if (!this.#outbox.waits(chunk.seq)) this.#outbox.add(chunk.seq);
        this.link.notice();
        this.#changed();
      });
  }

  #changed() {
    if (this.phase === "sending") this.#settleUp();
    this.dispatchEvent(new Event("change"));
  }

  /** Once nothing is owed any more: this browser has nothing left to keep. */
  #settleUp() {
    if (this.phase !== "sending" || this.unacked > 0 || this.#capturing) return;
    if (this.link.connection.condition !== "live") return;
    this.phase = "held";
    this.link.close();
    if (this.refused.length === 0) void this.#store.forget(this.id);
    this.dispatchEvent(new Event("change"));
  }
}
