// How the node's storage is: /health for everybody, the figures of the admin API for administrators.

import { Refusal, askJson } from "../server/http.js";
import { byId, make, writeState } from "./elements.js";
import { explain } from "./failures.js";
import { number, say, size, speech } from "./texts.js";

const EVERY_MS = 5_000;
const TONES = { ok: "good", degraded: "busy", error: "bad" };

/** Fires `change` when it has looked. */
export class HealthPanel extends EventTarget {
  #account;
  /** @type {any} */
  #health = null;
  /** @type {any} */
  #stats = null;
  /** @type {unknown} */
  #failure = null;
  #statsRefused = false;

  /** @param {import("../server/account.js").Account} account */
  constructor(account) {
    super();
    this.#account = account;
    speech.addEventListener("change", () => this.#show());
    account.addEventListener("change", () => {
      this.#statsRefused = false;
      void this.look();
    });
  }

  /** What writes down what is said; null: nothing does, undefined: not known yet. @returns {string | null | undefined} */
  get transcriber() {
    return this.#health?.transcription?.provider;
  }

  /** Look now and then, while the page is seen. */
  async run() {
    for (;;) {
      if (!document.hidden) await this.look();
      await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
    }
  }

  async look() {
    try {
      this.#health = await askJson("GET", "health");
      this.#failure = null;
    } catch (error) {
      this.#failure = error;
    }
    if (this.#failure === null && this.#account.may("admin") && !this.#statsRefused) await this.#lookAtStats();
    this.#show();
    this.dispatchEvent(new Event("change"));
  }

  async #lookAtStats() {
    try {
      this.#stats = (await askJson("GET", "api/audio-storage/stats")).data;
    } catch (error) {
      this.#stats = null;
      this.#statsRefused = error instanceof Refusal && (error.status === 403 || error.status === 404);
    }
  }

  #show() {
    const line = byId("health-state");
    if (this.#failure !== null) {
      writeState(line, "bad", explain(this.#failure));
      return;
    }
    if (this.#health === null) return;
    const { status, version } = this.#health;
    const tone = /** @type {Record<string, string>} */ (TONES)[status] ?? "busy";
    writeState(line, tone, say(`health.${status}`, { version }));
    this.#showChecks();
    this.#showStats();
  }

  #showChecks() {
    const checks = Object.entries(this.#health.checks ?? {});
    byId("checks").replaceChildren(
      ...checks.map(([name, check]) =>
        make(
          "div",
          {},
          make("dt", { textContent: say(`check.${name}`) }),
          make("dd", { className: check.status, textContent: `${say(`level.${check.status}`)}${shown(name, check.value)}` }),
          ...(check.detail ? [make("dd", { className: "detail", textContent: check.detail })] : []),
        ),
      ),
    );
  }

  #showStats() {
    const list = byId("stats");
    list.hidden = !this.#stats;
    if (!this.#stats) return;
    const stats = this.#stats;
    const figures = [
      ["stats.files", number(stats.totalFiles)],
      ["stats.size", size(stats.totalSizeBytes)],
      ["stats.sessions", number(stats.audioSessions)],
      ["stats.waiting", say("seconds", { n: number(stats.live.backlogChunks) })],
      ["stats.window", size(stats.live.windowBytes)],
    ];
    list.replaceChildren(
      ...figures.map(([key, text]) =>
        make("div", {}, make("dt", { textContent: say(key) }), make("dd", { textContent: text })),
      ),
    );
  }
}

/** The value that a check was judged by, in its unit. @param {string} name @param {number | undefined} value */
export function shown(name, value) {
  if (value === undefined) return "";
  if (name === "upload_latency" || name === "backlog_age") return ` · ${number(value / 1000, 1)} s`;
  if (name === "transcription") return ` · ${say("check.waiting", { n: number(value) })}`;
  if (name === "vad") return ` · ${number(value)}`;
  return ` · ${number(value * 100, 1)} %`;
}
