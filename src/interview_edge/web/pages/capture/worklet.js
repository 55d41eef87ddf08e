// The microphone's samples, from the audio thread to the page: blocks of mono float samples in transferred
// buffers. Every render quantum is in exactly one block, in order; one without input counts as silence, so that the
// clock of the recording goes on.

const BLOCK = 1_024; // samples: 64 ms at 16 kHz, so that a busy page is woken 16 times a second

class CaptureProcessor extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Float32Array(BLOCK);
    this.filled = 0;
    this.total = 0; // samples taken
    this.silent = 0; // of these, those that came without input
    this.nextFrame = -1; // where the next quantum must begin
    this.skipped = 0; // samples that the audio thread never asked for
    this.over = false;
    this.port.onmessage = () => {
      this.over = true;
      this.send();
      this.port.postMessage({ ended: true, ...this.counters() });
    };
  }

  counters() {
    return { total: this.total, silent: this.silent, skipped: this.skipped };
  }

  /** @param {Float32Array[][]} inputs */
  process(inputs) {
    if (this.over) return false;
    const channels = inputs[0];
    if (this.nextFrame < 0 && channels.length === 0) return true; // the microphone has not begun
    if (this.nextFrame >= 0) this.skipped += currentFrame - this.nextFrame;
    const length = channels.length > 0 ? channels[0].length : 128;
    this.nextFrame = currentFrame + length;
    if (channels.length === 0) this.silent += length;
    for (let i = 0; i < length; i++) {
      let sum = 0;
      for (const channel of channels) sum += channel[i];
      this.block[this.filled++] = channels.length > 1 ? sum / channels.length : sum;
      if (this.filled === BLOCK) this.send();
    }
    this.total += length;
    return true;
  }

  send() {
    if (this.filled === 0) return;
    const samples = this.block.subarray(0, this.filled);
    const whole = this.filled === BLOCK ? this.block : samples.slice();
    this.port.postMessage({ samples: whole, ...this.counters() }, [whole.buffer]);
    this.block = new Float32Array(BLOCK);
    this.filled = 0;
  }
}

registerProcessor("capture", CaptureProcessor);
