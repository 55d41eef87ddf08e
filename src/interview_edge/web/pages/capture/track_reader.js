// A microphone's samples as the microphone gives them, at its own rate and by its own clock, where the browser has
// MediaStreamTrackProcessor (Chromium). The audio graph (audio_graph.js) runs by the loudspeaker's clock instead,
// and where the two differ it slips in or drops 10 ms now and then: measured once in 30 s of Chromium's fake
// devices, which count as one in 3,000.

const QUEUE = 3_000; // buffers of about 10 ms: a page may be busy for half a minute and lose nothing
const HOLE_US = 100_000; // a later timestamp than this is a hole, and no jitter

export class TrackReader {
  #reader;
  #take;
  #reading;
  #nextUs = -1;
  /** @type {import("./microphone.js").Counters} */
  counters = { total: 0, silent: 0, skipped: 0 };
  rate;

  static get possible() {
    return "MediaStreamTrackProcessor" in globalThis && "AudioData" in globalThis;
  }

  /**
   * @param {MediaStreamTrack} track
   * @param {(samples: Float32Array, rate: number) => void} take
   * @returns {Promise<TrackReader>} once the first samples are there
   */
  static async open(track, take) {
    const processor = new /** @type {any} */ (globalThis).MediaStreamTrackProcessor({ track, maxBufferSize: QUEUE });
    const reader = processor.readable.getReader();
    const { value, done } = await reader.read();
    if (done) throw new DOMException("the microphone ended before it began", "NotReadableError");
    return new TrackReader(reader, value, take);
  }

  /**
   * @param {ReadableStreamDefaultReader<AudioData>} reader
   * @param {AudioData} first
   * @param {(samples: Float32Array, rate: number) => void} take
   */
  constructor(reader, first, take) {
    this.#reader = reader;
    this.#take = take;
    this.rate = first.sampleRate;
    this.#reading = this.#read(first);
  }

  /** @param {AudioData} first */
  async #read(first) {
    this.#hear(first);
    for (;;) {
      const { value, done } = await this.#reader.read();
      if (done) return;
      this.#hear(value);
    }
  }

  /** @param {AudioData} data */
  #hear(data) {
    const length = data.numberOfFrames;
    const hole = this.#nextUs < 0 ? 0 : data.timestamp - this.#nextUs;
    if (hole > HOLE_US) this.counters.skipped += Math.round((hole * this.rate) / 1e6);
    this.#nextUs = data.timestamp + (length * 1e6) / this.rate;
    const mono = new Float32Array(length);
    const channel = new Float32Array(length);
    for (let plane = 0; plane < data.numberOfChannels; plane++) {
      data.copyTo(channel, { planeIndex: plane, format: "f32-planar" });
      for (let i = 0; i < length; i++) mono[i] += channel[i] / data.numberOfChannels;
    }
    data.close();
    this.counters.total += length;
    this.#take(mono, this.rate);
  }

  /** Read no more; what has come is taken. */
  async close() {
    await this.#reader.cancel();
    await this.#reading;
  }
}
