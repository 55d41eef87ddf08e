// What was said, as it is written. Every text is set as text: it came from whoever spoke, or from a provider.

import { byId, make, write } from "../view/elements.js";
import { duration, number, say, speech } from "../view/texts.js";

/**
 * @typedef {import("./lines.js").Line} Line
 * @typedef {import("./lines.js").Provisional} Provisional
 * @typedef {import("./follower.js").Follower} Follower
 */

const READ_ALOUD = 5; // new lines at a time

export class TranscriptPanel {
  #recorder;
  #health;
  /** @type {Follower | null} */
  #follower = null;
  /** @type {Map<string, HTMLElement>} the lines that are shown */
  #items = new Map();
  #log = byId("transcript-log");
  #list = byId("transcript-lines");
  #show = () => this.show();

  /**
   * @param {import("../record/panel.js").RecorderPanel} recorder
   * @param {import("../view/health_panel.js").HealthPanel} health
   */
  constructor(recorder, health) {
    this.#recorder = recorder;
    this.#health = health;
    recorder.addEventListener("change", this.#show);
    health.addEventListener("change", this.#show);
    speech.addEventListener("change", this.#show);
  }

  show() {
    this.#follow(this.#recorder.transcript);
    const lines = this.#follower?.lines;
    const provider = this.#health.transcriber;
    if (this.#follower !== null) this.#follower.expected = provider !== null;
    const written = lines?.written ?? [];
    const provisional = lines?.provisional ?? [];
    const any = written.length + provisional.length > 0;
    byId("transcript").hidden = provider === undefined && !any; // a server that isn't known yet
    write(byId("transcript-note"), this.#note(any));
    this.#showWritten(written);
    byId("transcript-now").replaceChildren(...provisional.map((line) => fill(make("p"), line, line.text)));
  }

  /** @param {Follower | null} follower */
  #follow(follower) {
    if (follower === this.#follower) return;
    this.#follower?.removeEventListener("change", this.#show);
    follower?.addEventListener("change", this.#show);
    this.#follower = follower;
    this.#items.clear();
    this.#list.replaceChildren();
  }

  /** @param {boolean} any whether there are lines */
  #note(any) {
    const follower = this.#follower;
    if (this.#health.transcriber === null && !any) return say("transcript.none");
    if (follower?.barred && follower.afterwards && follower.lines.waiting > 0) return say("transcript.barred");
    const late = follower?.lines.late;
    if (late) return say(late.deferred ? "transcript.deferred" : "transcript.late", { n: number(late.waiting) });
    return any ? "" : say("transcript.empty");
  }

  /** Only what differs is written: a screen reader reads each new line once. @param {Line[]} lines */
  #showWritten(lines) {
    const atEnd = this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < 8;
    this.#log.hidden = lines.length === 0;
    // A session that is taken up again brings all its lines at once: nobody wants to hear them.
    const fresh = lines.filter(({ key }) => !this.#items.has(key)).length;
    this.#log.setAttribute("aria-live", fresh > READ_ALOUD ? "off" : "polite");
    lines.forEach((line, place) => {
      const item = this.#items.get(line.key) ?? make("li");
      this.#items.set(line.key, item);
      fill(item, line, line.failed ? say("transcript.failed") : line.text);
      item.classList.toggle("quiet", line.failed);
      if (this.#list.children[place] !== item) this.#list.insertBefore(item, this.#list.children[place] ?? null);
    });
    if (atEnd) this.#log.scrollTop = this.#log.scrollHeight;
  }
}

/**
 * @template {HTMLElement} T
 * @param {T} element
 * @param {Line | Provisional} line
 * @param {string} text
 */
function fill(element, line, text) {
  if (element.childElementCount === 0) {
    element.append(
      make("span", { className: "at" }),
      make("span", { className: "said" }, make("bdi", { className: "who" }), make("span", { dir: "auto" })),
    );
  }
  const [at, said] = element.children;
  const [who, words] = said.children;
  write(at, duration(line.startMs / 1000));
  write(who, "who" in line && line.who !== "" ? line.who : "");
  write(words, text);
  /** @type {HTMLElement} */ (words).lang = line.language;
  return element;
}
