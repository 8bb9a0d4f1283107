// The part of a recording that is in sight, and where its seconds lie in pixels.

const SHORTEST = 0.1; // seconds across the whole width

export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

export class Axis {
  constructor(seconds) {
    this.seconds = Math.max(seconds, 0.2);
    this.from = 0;
    this.to = this.seconds;
    this.width = 1; // pixels
    this.moved = () => {};
  }

  get span() {
    return this.to - this.from;
  }

  get perSecond() {
    return this.width / this.span;
  }

  x(t) {
    return (t - this.from) * this.perSecond;
  }

  t(x) {
    return this.from + x / this.perSecond;
  }

  show(from, to) {
    const span = clamp(to - from, SHORTEST, this.seconds);
    const start = clamp(from, 0, this.seconds - span);
    if (Math.abs(start - this.from) < 1e-9 && Math.abs(start + span - this.to) < 1e-9) return;
    this.from = start;
    this.to = start + span;
    this.moved();
  }

  // By a factor below 1 nearer; `at` stays where it is.
  zoom(factor, at) {
    const keep = at >= this.from && at <= this.to ? at : (this.from + this.to) / 2;
    const span = clamp(this.span * factor, SHORTEST, this.seconds);
    const from = keep - ((keep - this.from) * span) / this.span;
    this.show(from, from + span);
  }

  pan(seconds) {
    this.show(this.from + seconds, this.to + seconds);
  }

  // Bring a second into sight, a little of what comes before it too.
  reveal(t) {
    if (t < this.from || t > this.to) this.show(t - this.span * 0.15, t + this.span * 0.85);
  }
}

// 4.2 s, 1:04, 1:02:07
export function clock(t, digits = 1) {
  if (t < 60) return `${t.toFixed(digits)} s`;
  const whole = Math.floor(t + 1e-6);
  const [hours, minutes, seconds] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const rest = digits ? (t - whole).toFixed(digits).slice(1) : "";
  const two = (n) => String(n).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(seconds)}` : `${minutes}:${two(seconds)}${rest}`;
}

// Index of the first row of a sorted list whose `key` is at least `value`.
export function firstFrom(list, value, key = (row) => row[0]) {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (key(list[middle]) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
