// A streaming resampler for the audio thread: the same output however the input is cut into pieces.
//
// The ratio of two sample rates is a fraction L/M, so an output sample can only lie at L different places between
// two input samples. For each place one windowed-sinc filter is tabulated (a polyphase filter).
// A classic script, not a module: the worklets and the page both evaluate it.

globalThis.TmlResampler = class {
  constructor(inRate, outRate, zeros = 24) {
    const gcd = (a, b) => (b ? gcd(b, a % b) : a);
    const common = gcd(Math.round(inRate), Math.round(outRate));
    this.up = Math.round(outRate) / common; // L
    this.down = Math.round(inRate) / common; // M
    const cutoff = Math.min(1, outRate / inRate) * 0.96; // in units of the input's Nyquist frequency
    this.half = Math.ceil(zeros / cutoff); // filter reach to each side, in input samples
    this.taps = 2 * this.half;
    this.table = this.tabulate(cutoff);
    this.reset();
  }

  tabulate(cutoff) {
    const table = [];
    for (let phase = 0; phase < this.up; phase++) {
      const filter = new Float32Array(this.taps);
      let sum = 0;
      for (let k = 0; k < this.taps; k++) {
        const t = k - this.half + 1 - phase / this.up; // input samples between tap and output
        const x = Math.PI * t * cutoff;
        const window = Math.abs(t) < this.half ? Math.cos((Math.PI * t) / (2 * this.half)) ** 2 : 0;
        filter[k] = (x === 0 ? 1 : Math.sin(x) / x) * window;
        sum += filter[k];
      }
      table.push(filter.map((tap) => tap / sum)); // unit gain at zero frequency
    }
    return table;
  }

  reset() {
    // Zeros before the beginning, so that output 0 is centred on input 0.
    this.waiting = new Float32Array(this.half - 1);
    this.phase = 0;
  }

  // Float32Array of any length in -> Float32Array of whatever is complete out.
  push(input) {
    if (this.up === this.down) return input.slice();
    const line = new Float32Array(this.waiting.length + input.length);
    line.set(this.waiting);
    line.set(input, this.waiting.length);
    const out = new Float32Array(Math.max(0, Math.ceil(((line.length - this.taps + 1) * this.up) / this.down) + 1));
    let n = 0;
    let start = 0;
    for (; start + this.taps <= line.length; n++) {
      const filter = this.table[this.phase];
      let sum = 0;
      for (let k = 0; k < this.taps; k++) sum += filter[k] * line[start + k];
      out[n] = sum;
      this.phase += this.down;
      start += Math.floor(this.phase / this.up);
      this.phase %= this.up;
    }
    this.waiting = line.slice(Math.min(start, line.length));
    this.skip = start - Math.min(start, line.length);
    return out.subarray(0, n);
  }

  // What is still inside the filter, completed with silence.
  flush() {
    return this.up === this.down ? new Float32Array(0) : this.push(new Float32Array(this.half));
  }
};
