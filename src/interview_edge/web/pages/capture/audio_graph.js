// A microphone's samples through an audio graph: for browsers that give them in no other way (Firefox, Safari).

import { SAMPLE_RATE } from "./pcm.js";

const END_TIMEOUT_MS = 3_000; // a suspended audio thread answers nothing
const HEAD_START_MS = 50; // what the graph has in hand: half of what Chromium keeps for it

export class AudioGraph {
  #context;
  #node;
  #ended;
  /** @type {import("./microphone.js").Counters} */
  counters = { total: 0, silent: 0, skipped: 0 };

  /**
   * @param {MediaStream} stream
   * @param {(samples: Float32Array, rate: number) => void} take
   * @param {() => void} interrupted called where the system stops the graph
   * @returns {Promise<AudioGraph>}
   */
  static async open(stream, take, interrupted) {
    const [context, source] = await connect(stream);
    return new AudioGraph(context, source, take, interrupted);
  }

  /**
   * @param {AudioContext} context
   * @param {MediaStreamAudioSourceNode} source
   * @param {(samples: Float32Array, rate: number) => void} take
   * @param {() => void} interrupted
   */
  constructor(context, source, take, interrupted) {
    this.#context = context;
    this.#node = new AudioWorkletNode(context, "capture", { numberOfOutputs: 1 });
    this.#ended = new Promise((resolve) => {
      this.#node.port.onmessage = ({ data }) => {
        this.counters = { total: data.total, silent: data.silent, skipped: data.skipped };
        if (data.samples) take(data.samples, context.sampleRate);
        if (data.ended) resolve(undefined);
      };
    });
    source.connect(this.#node).connect(context.destination); // says nothing, but has to be pulled
    let running = false;
    context.onstatechange = () => {
      if (context.state === "running") running = true;
      else if (running && context.state !== "closed") {
        interrupted();
        context.resume().catch(() => {}); // refused until the interruption is over, which is another change
      }
    };
    setTimeout(() => context.resume().catch(() => {}), HEAD_START_MS);
  }

  get rate() {
    return this.#context.sampleRate;
  }

  /** Take the last samples. */
  async close() {
    this.#context.onstatechange = null;
    this.#node.port.postMessage("end");
    await Promise.race([this.#ended, new Promise((resolve) => setTimeout(resolve, END_TIMEOUT_MS))]);
    this.#node.port.onmessage = null;
    await this.#context.close();
  }
}

/**
 * The microphone in a graph at 16 kHz; in one at the system's rate where the browser doesn't convert (Firefox
 * refuses to connect a stream of another rate).
 *
 * @param {MediaStream} stream
 * @returns {Promise<[AudioContext, MediaStreamAudioSourceNode]>}
 */
async function connect(stream) {
  const wanted = await openContext(SAMPLE_RATE);
  try {
    return [wanted, wanted.createMediaStreamSource(stream)];
  } catch {
    await wanted.close();
    const own = await openContext();
    return [own, own.createMediaStreamSource(stream)];
  }
}

/** A context that doesn't run yet. @param {number} [sampleRate] Hz; without, the system's */
async function openContext(sampleRate) {
  const context = new AudioContext({ ...(sampleRate && { sampleRate }) });
  await context.suspend();
  await context.audioWorklet.addModule(new URL("worklet.js", import.meta.url).href);
  return context;
}
