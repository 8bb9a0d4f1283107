// Microphone -> 16 kHz mono -> messages of 1600 samples (half a turn).
// The browser's own rate is resampled here, because some browsers refuse a 16 kHz context on a 48 kHz microphone.

registerProcessor("tml-capture", class extends AudioWorkletProcessor {
  constructor({ processorOptions }) {
    super();
    this.resampler = new globalThis.TmlResampler(sampleRate, processorOptions.rate);
    this.half = new Float32Array(processorOptions.turnSamples / 2);
    this.filled = 0;
  }

  process([input]) {
    const channels = input.length;
    const mono = new Float32Array(channels ? input[0].length : 128); // no input yet: silence keeps time
    for (const channel of input) for (let i = 0; i < mono.length; i++) mono[i] += channel[i] / channels;
    const samples = this.resampler.push(mono);
    for (let taken = 0; taken < samples.length; ) {
      const n = Math.min(samples.length - taken, this.half.length - this.filled);
      this.half.set(samples.subarray(taken, taken + n), this.filled);
      this.filled += n;
      taken += n;
      if (this.filled === this.half.length) {
        this.port.postMessage(this.half.slice());
        this.filled = 0;
      }
    }
    return true;
  }
});
