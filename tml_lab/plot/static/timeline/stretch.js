// Slower or faster without a change of pitch: waveform-similarity overlap-add (Verhelst and Roelands 1993).
// Windows of 40 ms are laid over one another at a steady pace; each is taken where it continues the last one best.

const WINDOW = 640; // samples at 16 kHz
const HOP = WINDOW / 2;
const SEARCH = 160; // how far a window may be moved, to either side

export class Stretcher {
  constructor(speed) {
    this.speed = speed;
    this.heard = [new Float32Array(0), new Float32Array(0)];
    this.at = SEARCH; // where the next window is due, in samples of `heard`
    this.follow = null; // where the last window would go on
    this.tails = [new Float32Array(HOP), new Float32Array(HOP)];
    this.fade = Float32Array.from({ length: WINDOW }, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * (n + 0.5)) / WINDOW));
  }

  // Two channels in, two channels out: [Float32Array, Float32Array].
  push(pair) {
    this.heard = this.heard.map((before, side) => joined(before, pair[side]));
    const length = this.heard[0].length;
    const count = Math.max(0, Math.floor((length - WINDOW - SEARCH - this.at) / (HOP * this.speed)) + 1);
    const out = this.heard.map(() => new Float32Array(count * HOP));
    for (let n = 0; n < count; n++) {
      const best = this.follow === null ? Math.round(this.at) : this.nearest(Math.round(this.at));
      out.forEach((samples, side) => {
        for (let i = 0; i < HOP; i++) {
          samples[n * HOP + i] = this.tails[side][i] + this.fade[i] * this.heard[side][best + i];
          this.tails[side][i] = this.fade[HOP + i] * this.heard[side][best + HOP + i];
        }
      });
      this.follow = best + HOP;
      this.at += HOP * this.speed;
    }
    this.forget();
    return out;
  }

  // The place near `due` whose sound is most like what would have come next.
  nearest(due) {
    let [best, most] = [due, -Infinity];
    for (let at = due - SEARCH; at <= due + SEARCH; at += 2) {
      let like = 0;
      for (let i = 0; i < HOP; i += 4) {
        like += this.heard[0][at + i] * this.heard[0][this.follow + i] + this.heard[1][at + i] * this.heard[1][this.follow + i];
      }
      if (like > most) [best, most] = [at, like];
    }
    return best;
  }

  forget() {
    const gone = Math.max(0, Math.min(Math.floor(this.at) - SEARCH, this.follow ?? 0));
    this.heard = this.heard.map((samples) => samples.slice(gone));
    this.at -= gone;
    if (this.follow !== null) this.follow -= gone;
  }
}

function joined(a, b) {
  const both = new Float32Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
