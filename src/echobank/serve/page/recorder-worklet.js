// Runs beside the sound card: hands what it hears to the page, a tenth of a second at once.
class Recorder extends AudioWorkletProcessor {
  constructor() { super(); this.held = new Float32Array(Math.round(sampleRate / 10)); this.count = 0; }
  process([[channel]]) {
    for (const value of channel ?? []) {
      this.held[this.count++] = value;
      if (this.count === this.held.length) { this.port.postMessage(this.held.slice()); this.count = 0; }
    }
    return true;
  }
}
registerProcessor("recorder", Recorder);
