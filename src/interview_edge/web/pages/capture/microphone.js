// A microphone as 16 kHz samples.

import { AudioGraph } from "./audio_graph.js";
import { Resampler } from "./resampler.js";
import { TrackReader } from "./track_reader.js";

/**
 * @typedef {{total: number, silent: number, skipped: number}} Counters samples at the source's rate: taken; of these
 *   without input; never given to us
 */

const UNTOUCHED = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };

/**
 * The microphones that there are. Browsers give names only after the visitor has allowed one.
 *
 * @returns {Promise<MediaDeviceInfo[]>}
 */
export async function listMicrophones() {
  const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  return devices.filter((device) => device.kind === "audioinput" && device.deviceId !== "");
}

export class Microphone {
  #stream;
  #take;
  /** @type {Resampler | null} */
  #resampler = null;
  /** @type {AudioGraph | TrackReader | null} */
  #source = null;
  /** @type {(() => void) | null} called where the microphone goes away, or the system interrupts it */
  ontrouble = null;

  /**
   * @param {string} deviceId "" for the system's choice
   * @param {(samples: Float32Array) => void} take gets every sample once, in order, at 16 kHz
   * @returns {Promise<Microphone>}
   * @throws {DOMException} NotAllowedError, NotFoundError, NotReadableError: as getUserMedia says it
   */
  static async open(deviceId, take) {
    if (navigator.mediaDevices === undefined) {
      throw new DOMException("microphones are for pages over HTTPS or of this machine", "SecurityError");
    }
    const audio = { ...UNTOUCHED, channelCount: { ideal: 1 }, ...(deviceId && { deviceId: { exact: deviceId } }) };
    const microphone = new Microphone(await navigator.mediaDevices.getUserMedia({ audio }), take);
    try {
      await microphone.#begin();
    } catch (error) {
      microphone.#letGo();
      throw error;
    }
    return microphone;
  }

  /**
   * @param {MediaStream} stream
   * @param {(samples: Float32Array) => void} take
   */
  constructor(stream, take) {
    this.#stream = stream;
    this.#take = take;
  }

  async #begin() {
    const [track] = this.#stream.getAudioTracks();
    track.addEventListener("ended", () => this.ontrouble?.());
    const hear = (/** @type {Float32Array} */ samples, /** @type {number} */ rate) => {
      this.#resampler ??= new Resampler(rate);
      this.#take(this.#resampler.feed(samples));
    };
    this.#source = TrackReader.possible
      ? await TrackReader.open(track, hear)
      : await AudioGraph.open(this.#stream, hear, () => this.ontrouble?.());
  }

  /** @returns {Counters} */
  get counters() {
    return this.#source?.counters ?? { total: 0, silent: 0, skipped: 0 };
  }

  /** Hz, as the browser gives the samples: where it isn't 16,000, this page resamples. */
  get rate() {
    return this.#source?.rate ?? 0;
  }

  /** The name of the microphone that is in use. */
  get label() {
    return this.#stream.getAudioTracks()[0].label;
  }

  /** Take the last samples, and let the microphone go. */
  async close() {
    this.ontrouble = null;
    await this.#source?.close();
    if (this.#resampler !== null) this.#take(this.#resampler.finish());
    this.#letGo();
  }

  #letGo() {
    this.#stream.getTracks().forEach((track) => track.stop());
  }
}
