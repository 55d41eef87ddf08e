// A session's lines, out of its events (docs/reference/events.md) and partials, whatever order they come in.

/**
 * @typedef {object} Line one utterance that is written, or was given up
 * @property {string} key the same for the same utterance
 * @property {number} startMs from the start of its stream
 * @property {string} who the speaker, or the stream where there are several; "" where neither is to be said
 * @property {string} text
 * @property {string} language a language's tag, or ""
 * @property {boolean} failed it was given up: there is no text
 *
 * @typedef {{key: string, startMs: number, text: string, language: string}} Provisional
 *
 * @typedef {object} Utterance what is known of one
 * @property {string} key
 * @property {string} stream
 * @property {number} number
 * @property {number} startMs
 * @property {boolean} begun somebody was heard
 * @property {boolean} ended
 * @property {{text: string, language: string, failed: boolean} | null} line once it is written
 * @property {{text: string, language: string} | null} partial
 * @property {{cluster: string, name: string, seqNo: number} | null} voice
 */

/** Order decides nothing: each event counts once, by its `seq_no`, and the newest word on a thing stands. */
export class Lines {
  /** @type {Map<string, Utterance>} */
  #utterances = new Map();
  /** @type {Map<string, {name: string, seqNo: number}>} the names of voices, by cluster */
  #names = new Map();
  #lateness = { type: "", waiting: 0, seqNo: 0 };
  #reached = 0;
  /** @type {Set<number>} events behind a hole */
  #ahead = new Set();

  /** Every event up to this `seq_no` was taken. */
  get reached() {
    return this.#reached;
  }

  /** Whether events are known that come after ones that aren't. */
  get hasHole() {
    return this.#ahead.size > 0;
  }

  /** An event of the socket. @param {any} event @returns {boolean} whether it is new */
  take(event) {
    const seqNo = event.seq_no;
    if (seqNo <= this.#reached || this.#ahead.has(seqNo)) return false;
    this.#ahead.add(seqNo);
    this.#advance();
    this.#apply(event);
    return true;
  }

  /** The events that follow `reached`, one page of them. @param {any[]} events @returns {boolean} whether any is new */
  takePage(events) {
    const fresh = events.filter((event) => this.take(event)).length > 0;
    // The server has nothing between these: what isn't there would be waited for in vain.
    this.#reached = Math.max(this.#reached, ...events.map(({ seq_no }) => seq_no));
    this.#advance();
    return fresh;
  }

  /** What was said so far of an utterance; the next one takes its place. @param {any} frame */
  takePartial(frame) {
    const utterance = this.#utterance(frame);
    utterance.partial = { text: String(frame.text ?? ""), language: tag(frame.language) };
  }

  /** By their start, those of one moment by stream, as the server's own transcript. @returns {Line[]} */
  get written() {
    const found = this.#sorted().filter(({ line }) => line !== null && (line.failed || line.text !== ""));
    const several = new Set(found.map(({ stream }) => stream)).size > 1;
    return found.map((utterance) => ({
      key: utterance.key,
      startMs: utterance.startMs,
      who: this.#speaker(utterance) || (several ? utterance.stream : ""),
      .../** @type {{text: string, language: string, failed: boolean}} */ (utterance.line),
    }));
  }

  /** What is said just now, or was and isn't written yet. @returns {Provisional[]} */
  get provisional() {
    return this.#sorted().flatMap(({ key, startMs, line, partial }) =>
      line === null && partial !== null && partial.text !== "" ? [{ key, startMs, ...partial }] : [],
    );
  }

  /** Utterances that are over and neither written nor given up. */
  get waiting() {
    return [...this.#utterances.values()].filter(({ ended, line }) => ended && line === null).length;
  }

  /** Whether something was said that isn't written, ended or not. */
  get owing() {
    return [...this.#utterances.values()].some(({ begun, line }) => begun && line === null);
  }

  /** Whether the server says that lines are late or put off, and how many. */
  get late() {
    const { type, waiting } = this.#lateness;
    if (type !== "transcription_late" && type !== "transcription_deferred") return null;
    return { deferred: type === "transcription_deferred", waiting: this.waiting || waiting };
  }

  #advance() {
    this.#ahead.forEach((seqNo) => {
      if (seqNo <= this.#reached) this.#ahead.delete(seqNo);
    });
    while (this.#ahead.delete(this.#reached + 1)) this.#reached += 1;
  }

  /** @param {any} event */
  #apply(event) {
    switch (event.type) {
      case "speech_started":
        this.#utterance(event).begun = true;
        break;
      case "speech_ended":
        Object.assign(this.#utterance(event), { begun: true, ended: true });
        break;
      case "transcript":
        this.#utterance(event).line = { text: String(event.text ?? ""), language: tag(event.language), failed: false };
        break;
      case "transcript_failed":
        this.#utterance(event).line ??= { text: "", language: "", failed: true };
        break;
      case "resolve":
        this.#name(event);
        break;
      case "transcription_late":
      case "transcription_deferred":
      case "transcription_caught_up":
        if (event.seq_no > this.#lateness.seqNo) {
          this.#lateness = { type: event.type, waiting: event.waiting ?? 0, seqNo: event.seq_no };
        }
    }
  }

  /** Who spoke. Only a sure name is that of the voice, for all its lines. @param {any} event */
  #name(event) {
    const { cluster_id: cluster, speaker_name: name, seq_no: seqNo } = event;
    if (event.decision === "auto" && name && !(seqNo < (this.#names.get(cluster)?.seqNo ?? 0))) {
      this.#names.set(cluster, { name, seqNo });
    }
    if (event.utterance === undefined) return;
    const utterance = this.#utterance(event);
    if (!(seqNo < (utterance.voice?.seqNo ?? 0))) utterance.voice = { cluster, name: name ?? "", seqNo };
  }

  /** @param {Utterance} utterance */
  #speaker({ voice }) {
    return voice === null ? "" : (this.#names.get(voice.cluster)?.name ?? voice.name);
  }

  /** A client numbers its own utterances anew in each recording; then `utterance_id` tells them apart. @param {any} said */
  #utterance({ stream = "", utterance: number, utterance_id, start_ms }) {
    const key = `${stream}/${utterance_id ?? number}`;
    let found = this.#utterances.get(key);
    if (found === undefined) {
      found = { key, stream, number, startMs: 0, begun: false, ended: false, line: null, partial: null, voice: null };
      this.#utterances.set(key, found);
    }
    if (start_ms !== undefined) found.startMs = start_ms; // a resolve has none
    return found;
  }

  #sorted() {
    return [...this.#utterances.values()].sort(
      (a, b) => a.startMs - b.startMs || (a.stream < b.stream ? -1 : a.stream > b.stream ? 1 : a.number - b.number),
    );
  }
}

/** For `lang`; some providers give a word. @param {unknown} language */
function tag(language) {
  return typeof language === "string" && /^[a-z]{2,3}(-[a-z0-9]+)*$/i.test(language) ? language : "";
}
