// The recorder as it is seen and handled.

import { listMicrophones } from "../capture/microphone.js";
import { sessionPath, urlOf } from "../server/http.js";
import { countOf, showRanges } from "../upload/ranges.js";
import { WINDOW_SECONDS, drawWaveform, drawWindow } from "../view/drawings.js";
import { byId, focusIsLost, make, write, writeState } from "../view/elements.js";
import { explain } from "../view/failures.js";
import { duration, number, say, speech } from "../view/texts.js";
import { Recording } from "./recording.js";
import { claim } from "./claim.js";
import { describe } from "./words.js";

const CALM = matchMedia("(prefers-reduced-motion: reduce)");

/** Fires `change` when a recording begins or is over. */
export class RecorderPanel extends EventTarget {
  #store;
  #account;
  /** @type {Recording | null} */
  #current = null;
  /** @type {{complete: boolean, missing: any} | null} */
  #result = null;
  #release = async () => {};
  #wasBusy = false;
  /** @type {HTMLButtonElement | null} what is to be pressed next */
  #next = null;
  #start = /** @type {HTMLButtonElement} */ (byId("start"));
  #stop = /** @type {HTMLButtonElement} */ (byId("stop"));
  #session = /** @type {HTMLInputElement} */ (byId("session"));
  #microphones = /** @type {HTMLSelectElement} */ (byId("microphone"));

  /**
   * @param {import("../upload/chunk_store.js").ChunkStore} store
   * @param {import("../server/account.js").Account} account
   */
  constructor(store, account) {
    super();
    this.#store = store;
    this.#account = account;
    this.#session.value = newSessionId();
    this.#start.onclick = () => void this.begin(null);
    this.#stop.onclick = () => void this.#current?.stop();
    byId("finalize").onclick = () => void this.#finalize();
    speech.addEventListener("change", () => {
      this.show();
      void this.listMicrophones(); // whose names are words, too
    });
    account.addEventListener("change", () => {
      this.#current?.retry();
      this.show();
    });
    navigator.mediaDevices?.addEventListener("devicechange", () => void this.listMicrophones());
    addEventListener("beforeunload", (event) => {
      if (this.#current !== null && (this.#current.recording || this.#current.unacked > 0)) event.preventDefault();
    });
  }

  /** The session that is recorded or sent now. */
  get currentId() {
    return this.busy ? this.#current?.id : undefined;
  }

  /** What is said in the session that is shown; null before there is one. */
  get transcript() {
    return this.#current?.transcript ?? null;
  }

  /** Whether a session is under way: another can't begin. */
  get busy() {
    return this.#current !== null && !this.#current.over;
  }

  async listMicrophones() {
    const found = await listMicrophones();
    const chosen = this.#microphones.value;
    const options = found
      .filter(({ deviceId }) => deviceId !== "default" && deviceId !== "communications")
      .map(({ deviceId, label }, i) =>
        make("option", { value: deviceId, textContent: label || say("record.microphone_n", { n: i + 1 }) }),
      );
    this.#microphones.replaceChildren(
      make("option", { value: "", textContent: say("record.microphone_default") }),
      ...options,
    );
    if (found.some(({ deviceId }) => deviceId === chosen)) this.#microphones.value = chosen;
  }

  /**
   * Record: a new session, or one that was begun before, behind what it has.
   *
   * @param {import("../upload/chunk_store.js").Unfinished | null} session
   */
  async begin(session) {
    await this.#take(session, (recording) => recording.record(this.#microphones.value));
    await this.listMicrophones();
  }

  /** Send what this browser holds of a session. @param {import("../upload/chunk_store.js").Unfinished} session */
  async sendRest(session) {
    await this.#take(session, (recording) => recording.sendRest());
  }

  /**
   * @param {import("../upload/chunk_store.js").Unfinished | null} session
   * @param {(recording: Recording) => Promise<void>} begin
   */
  async #take(session, begin) {
    if (this.busy) return;
    byId("problem").textContent = "";
    const id = session?.id ?? this.#session.value.trim();
    if (id === "") {
      byId("problem").textContent = say("record.session_needed");
      this.#session.focus();
      return;
    }
    const release = await claim(id);
    if (release === null) {
      byId("problem").textContent = say("record.elsewhere");
      return;
    }
    const fresh = { id, user: this.#account.user, startedMs: Date.now(), nextSeq: 1, ended: false };
    const recording = new Recording(session ?? fresh, this.#store, this.#account);
    this.#release = release;
    this.#current?.transcript.stop();
    this.#current = recording;
    this.#result = null;
    this.#session.value = id;
    recording.addEventListener("change", () => this.show());
    recording.addEventListener("trouble", () => {
      byId("problem").textContent = say("record.interrupted");
    });
    recording.addEventListener("chunk", (event) => tell(id, /** @type {CustomEvent} */ (event).detail));
    this.show();
    try {
      await begin(recording);
      requestAnimationFrame(() => this.#animate(0));
    } catch (error) {
      this.#current = null;
      byId("problem").textContent = explain(error);
    }
    this.show();
    this.dispatchEvent(new Event("change"));
  }

  async #finalize() {
    if (this.#current === null) return;
    byId("problem").textContent = "";
    try {
      this.#result = await this.#current.finalize();
    } catch (error) {
      byId("problem").textContent = explain(error);
    }
    this.show();
  }

  /** @param {number} before when the last picture was made, ms */
  #animate(before) {
    const recording = this.#current;
    if (recording === null) return;
    const now = performance.now();
    const pause = CALM.matches ? 500 : 50;
    if (now - before >= pause) {
      before = now;
      this.#draw(recording);
    }
    if (this.busy) requestAnimationFrame(() => this.#animate(before));
    else this.#draw(recording);
  }

  /** @param {Recording} recording */
  #draw(recording) {
    drawWaveform(/** @type {HTMLCanvasElement} */ (byId("waveform")), recording.peaks);
    const first = Math.max(recording.lastSeq, WINDOW_SECONDS) - WINDOW_SECONDS + 1;
    const standings = Array.from({ length: WINDOW_SECONDS }, (_, i) => recording.standingOf(first + i));
    drawWindow(/** @type {HTMLCanvasElement} */ (byId("window")), standings);
    const peak = recording.recording ? recording.peaks.loudest(5) : 0;
    const decibels = peak > 0.001 ? 20 * Math.log10(peak) : -60;
    const level = byId("level");
    level.setAttribute("aria-valuenow", String(Math.round(decibels)));
    level.toggleAttribute("data-hot", peak > 0.98);
    /** @type {HTMLElement} */ (level.firstElementChild).style.width = `${((decibels + 60) / 60) * 100}%`;
    write(byId("clock"), duration(recording.capturedSeconds));
    write(byId("captured"), say("seconds", { n: number(recording.capturedSeconds, 0) }));
  }

  /** Write everything that isn't sound. */
  show() {
    const recording = this.#current;
    const phase = recording?.phase;
    if (this.#wasBusy && !this.busy) this.#letGo();
    this.#wasBusy = this.busy;
    this.#start.disabled = this.busy || this.#account.mustSignIn || !this.#account.known;
    this.#stop.disabled = phase !== "recording";
    const finalize = /** @type {HTMLButtonElement} */ (byId("finalize"));
    finalize.disabled = phase !== "held";
    this.#session.readOnly = this.busy;
    this.#microphones.disabled = this.busy;
    const [tone, text] = describe(recording, this.#account, this.#store.lasting);
    writeState(byId("state"), tone, text);
    if (recording !== null) this.#showFigures(recording);
    byId("finish").hidden = !["held", "finalizing", "finalized"].includes(phase ?? "");
    this.#leadOn(phase === "recording" ? this.#stop : phase === "held" ? finalize : null);
    if (phase === "held" || phase === "finalizing" || phase === "finalized") this.#showEnd(/** @type {Recording} */ (recording));
  }

  /** The session is over for this page: another can begin, and what is left of it can be seen to. */
  #letGo() {
    this.#session.value = newSessionId();
    void this.#release().then(() => this.dispatchEvent(new Event("change")));
    this.#release = async () => {};
  }

  /**
   * A button that was pressed and is disabled loses the focus; whoever goes by keyboard finds it on the next one.
   *
   * @param {HTMLButtonElement | null} next
   */
  #leadOn(next) {
    if (next === null || next === this.#next) return;
    this.#next = next;
    if (focusIsLost()) next.focus({ preventScroll: true });
  }

  /** @param {Recording} recording */
  #showFigures(recording) {
    const missing = recording.link.status?.missing ?? [];
    const gone = countOf(missing.filter(([first]) => !recording.waitsFor(first)));
    write(byId("unacked"), say("seconds", { n: number(recording.unacked) }));
    write(byId("acked"), say("seconds", { n: number(recording.acked) }));
    write(byId("missing"), say("seconds", { n: number(gone + recording.lost) }));
    const capture = recording.capture;
    const notes = [
      ...(capture ? [say("record.source", { label: capture.label, rate: number(capture.rate) })] : []),
      ...(capture && capture.skipped > 0 ? [say("record.skipped", { n: number(capture.skipped) })] : []),
      ...(recording.link.reconnects > 0 ? [say("record.reconnects", { n: recording.link.reconnects })] : []),
      ...recording.refused.map(({ seq, detail }) => say("record.refused", { seq, detail })),
    ];
    write(byId("capture-note"), notes.join(" · "));
    const standings = Array.from({ length: WINDOW_SECONDS }, (_, i) => recording.standingOf(recording.lastSeq - i));
    const held = standings.filter((standing) => standing === "held").length;
    const known = standings.filter((standing) => standing !== "none").length;
    byId("window").setAttribute("aria-label", say("window.summary", { held, known }));
  }

  /** @param {Recording} recording */
  #showEnd(recording) {
    const audio = urlOf(`${sessionPath(recording.id)}/audio`);
    const player = /** @type {HTMLAudioElement} */ (byId("playback"));
    const mayHear = this.#account.may("sessions");
    player.hidden = byId("wav").hidden = !mayHear;
    if (mayHear && player.src !== audio) player.src = audio;
    Object.assign(byId("wav"), { href: audio, download: `${recording.id.replace(/[^\w.-]+/g, "_")}.wav` });
    Object.assign(byId("result"), {
      href: urlOf(`${sessionPath(recording.id)}/result`),
      hidden: recording.phase !== "finalized" || !mayHear,
    });
    if (!this.#result) write(byId("finish-text"), say("finish.held", { n: number(recording.capturedSeconds, 1) }));
    else if (this.#result.complete) write(byId("finish-text"), say("finish.complete"));
    else write(byId("finish-text"), say("finish.incomplete", { missing: showRanges(this.#result.missing) }));
  }
}

/** A name that nobody has yet, and that sorts by time. */
function newSessionId() {
  const random = [...crypto.getRandomValues(new Uint8Array(4))].map((byte) => byte.toString(16).padStart(2, "0"));
  const now = new Date().toISOString().slice(0, 19).replace(/[-:]/g, "").replace("T", "-");
  return `rec-${now}-${random.join("")}`;
}

/**
 * Tell the document of each captured second, before it is sent: whoever checks a recording compares with this.
 *
 * @param {string} sessionId
 * @param {import("../capture/chunk_cutter.js").Chunk} chunk
 */
function tell(sessionId, chunk) {
  document.dispatchEvent(new CustomEvent("interview-edge:chunk", { detail: { sessionId, ...chunk } }));
}
