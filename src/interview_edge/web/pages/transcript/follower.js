// Keeps a session's lines up to date: from its socket while there is one, over HTTP for what was missed, and
// after the socket has been closed, since lines come seconds after what was said.

import { Refusal, askJson, sessionPath } from "../server/http.js";
import { Lines } from "./lines.js";

const PAGE = 1_000; // events an answer, the server's most
const RETRY_MS = 3_000;
const SOON_MS = 1_000; // between two looks after the socket's end, at first
const RARELY_MS = 15_000; // and at last
const SETTLED_MS = 10_000; // without news and with nothing to wait for: that is all

/** Fires `change` when there is something new to see. */
export class Follower extends EventTarget {
  #path;
  #link;
  #account;
  #condition = "closed";
  #stopped = false;
  #asking = false;
  #wanted = false; // something may have been missed
  #refused = false;
  #looking = false; // after the socket's end
  #pause = SOON_MS; // between two looks
  #newsAt = 0;
  lines = new Lines();
  /** Whether the server may write lines at all; without a transcriber nothing is waited for. */
  expected = true;

  /**
   * @param {string} sessionId
   * @param {import("../upload/link.js").Link} link
   * @param {import("../server/account.js").Account} account
   */
  constructor(sessionId, link, account) {
    super();
    this.#path = `${sessionPath(sessionId)}/events`;
    this.#link = link;
    this.#account = account;
    link.addEventListener("event", (event) => {
      if (!this.lines.take(/** @type {CustomEvent} */ (event).detail)) return;
      if (this.lines.hasHole) this.#catchUp();
      this.#tell();
    });
    link.addEventListener("partial", (event) => {
      this.lines.takePartial(/** @type {CustomEvent} */ (event).detail);
      this.#tell();
    });
    link.addEventListener("change", () => this.#lookAtLink());
  }

  /** Nobody wants to see it any more. */
  stop() {
    this.#stopped = true;
  }

  /** Whether this visitor isn't told what was missed: recording takes another scope than reading. */
  get barred() {
    return this.#refused || !this.#account.may("sessions");
  }

  /** The socket is gone for good: what comes now comes over HTTP. */
  get afterwards() {
    return this.#condition === "closed" || this.#condition === "over";
  }

  #lookAtLink() {
    const before = this.#condition;
    this.#condition = this.#link.connection.condition;
    if (this.#condition === before) return;
    if (this.#condition === "live") this.#catchUp();
    if (this.#condition === "closed") void this.outlast();
  }

  /** Ask for what comes after the last event that is known. */
  #catchUp() {
    this.#wanted = true;
    if (!this.#asking) void this.#ask();
  }

  async #ask() {
    this.#asking = true;
    while (this.#wanted && !this.#stopped && !this.barred) {
      this.#wanted = false;
      try {
        await this.#fetch();
      } catch (error) {
        const refusal = error instanceof Refusal ? error : null;
        if (refusal?.status === 404) break; // nothing of it has arrived
        this.#refused = refusal?.status === 403 || refusal?.status === 410;
        if (this.#refused) break;
        if (this.#condition !== "live" && !this.afterwards) break; // the next connection asks again
        this.#wanted = true;
        await rest((refusal?.retryAfter ?? 0) * 1000 || RETRY_MS);
      }
    }
    this.#asking = false;
  }

  async #fetch() {
    for (let next = this.lines.reached; next !== null && !this.#stopped; ) {
      const page = await askJson("GET", `${this.#path}?after=${next}&limit=${PAGE}`);
      if (this.lines.takePage(page.items)) this.#tell();
      next = page.next;
    }
  }

  /** Look now and then until everything that was said is written. What goes on at the end, finalize ends. */
  async outlast() {
    this.#newsAt = performance.now();
    this.#pause = SOON_MS;
    this.#catchUp();
    if (this.#looking) return;
    this.#looking = true;
    while (this.afterwards && !this.#stopped) {
      await rest(this.#pause);
      this.#pause = Math.min(this.#pause * 1.3, RARELY_MS);
      this.#catchUp();
      const owed = this.expected && this.lines.owing;
      if (!owed && performance.now() - this.#newsAt > SETTLED_MS) break;
    }
    this.#looking = false;
  }

  #tell() {
    this.#newsAt = performance.now();
    if (!this.#stopped) this.dispatchEvent(new Event("change"));
  }
}

/** @param {number} ms */
function rest(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
