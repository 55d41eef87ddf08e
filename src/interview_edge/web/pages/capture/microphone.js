// A microphone as 16 kHz samples.

import { SAMPLE_RATE } from "./pcm.js";
import { Resampler } from "./resampler.js";

/** @typedef {{total: number, silent: number, skipped: number}} Counters samples at the graph's rate */

const UNTOUCHED = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
const END_TIMEOUT_MS = 3_000; // a suspended audio thread answers nothing

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
  #context;
  #node;
  #resampler;
  #take;
  #ended;
  /** @type {Counters} */
  counters = { total: 0, silent: 0, skipped: 0 };
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
    const context = await openGraph(SAMPLE_RATE); // before the microphone is: what is said first isn't lost
    /** @type {MediaStream | undefined} */
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio });
      return new Microphone(stream, ...(await connect(stream, context)), take);
    } catch (error) {
      stream?.getTracks().forEach((track) => track.stop());
      if (context.state !== "closed") await context.close();
      throw error;
    }
  }

  /**
   * @param {MediaStream} stream
   * @param {AudioContext} context
   * @param {MediaStreamAudioSourceNode} source
   * @param {(samples: Float32Array) => void} take
   */
  constructor(stream, context, source, take) {
    this.#stream = stream;
    this.#context = context;
    this.#take = take;
    this.#resampler = new Resampler(context.sampleRate);
    this.#node = new AudioWorkletNode(context, "capture", { numberOfOutputs: 1 });
    this.#ended = new Promise((resolve) => {
      this.#node.port.onmessage = ({ data }) => {
        this.counters = { total: data.total, silent: data.silent, skipped: data.skipped };
        if (data.samples) this.#take(this.#resampler.feed(data.samples));
        if (data.ended) resolve(undefined);
      };
    });
    source.connect(this.#node).connect(context.destination); // says nothing, but has to be pulled
    stream.getAudioTracks()[0].addEventListener("ended", () => this.ontrouble?.());
    context.addEventListener("statechange", () => {
      if (context.state !== "running" && context.state !== "closed") {
        this.ontrouble?.();
        context.resume().catch(() => {}); // refused until the interruption is over, which is another change
      }
    });
    context.resume().catch(() => {});
  }

  /** Hz, of the audio graph: other than 16,000 where this page resamples. */
  get graphRate() {
    return this.#context.sampleRate;
  }

  /** The name of the microphone that is in use. */
  get label() {
    return this.#stream.getAudioTracks()[0].label;
  }

  /** Take the last samples, and let the microphone go. */
  async close() {
    this.ontrouble = null;
    this.#node.port.postMessage("end");
    await Promise.race([this.#ended, new Promise((resolve) => setTimeout(resolve, END_TIMEOUT_MS))]);
    this.#node.port.onmessage = null;
    this.#take(this.#resampler.finish());
    this.#stream.getTracks().forEach((track) => track.stop());
    await this.#context.close();
  }
}

/** @param {number} [sampleRate] Hz; without, the system's @returns {Promise<AudioContext>} */
async function openGraph(sampleRate) {
  const context = new AudioContext({ ...(sampleRate && { sampleRate }) });
  await context.audioWorklet.addModule(new URL("worklet.js", import.meta.url).href);
  return context;
}

/**
 * The microphone in the graph at 16 kHz; in one at the system's rate where the browser doesn't convert (Firefox
 * refuses to connect a stream of another rate).
 *
 * @param {MediaStream} stream
 * @param {AudioContext} wanted
 * @returns {Promise<[AudioContext, MediaStreamAudioSourceNode]>}
 */
async function connect(stream, wanted) {
  try {
    return [wanted, wanted.createMediaStreamSource(stream)];
  } catch {
    await wanted.close();
    const own = await openGraph();
    return [own, own.createMediaStreamSource(stream)];
  }
}
