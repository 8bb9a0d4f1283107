// What has happened, turn by turn: the strip draws from this, and nothing else.

import { TURN_SAMPLES, TURN_SECONDS } from "./audio.js";

export const STREAMS = ["heard", "seen", "typed", "own voice"];
const POINTS = 8; // loudness points per turn, for the drawn waveform
const RICH = 3000; // turns (10 minutes) that keep pictures and attention: an hour of them would fill a page's memory

export class History {
  constructor() {
    this.clear();
  }

  clear() {
    // By the number of the turn: the model's time is the time of the room. A chunk that was lost is a turn in which
    // nothing was heard; turns that were skipped are left out here.
    this.plain = 0; // turns before this one have lost their pictures and attention
    this.turns = []; // {turn, pSpeak, speaking, words, typed, heard, voice, attention, ...}
    this.latencies = []; // milliseconds, the last 100 round trips
  }

  at(turn) {
    return (this.turns[turn] ??= { turn });
  }

  get length() {
    return this.turns.length;
  }

  // The last turn the model has decided on.
  get decided() {
    let last = this.turns.length - 1;
    while (last >= 0 && this.turns[last]?.pSpeak === undefined) last--;
    return last;
  }

  addHeard(turn, samples, { said = "", picture = null } = {}) {
    Object.assign(this.at(turn), { heard: loudness(samples), said, picture });
  }

  addDecision(message, samples, attention) {
    Object.assign(this.at(message.turn), {
      pSpeak: message.p_speak,
      speaking: message.decision === "<speak>",
      request: message.request,
      decision: message.decision,
      words: message.words ?? [],
      understood: message.heard,
      typed: message.typed || "",
      note: message.note || "",
      missed: message.missed,
      modelMs: message.model_ms,
      waitedMs: message.waited_ms,
      voice: samples ? loudness(samples) : null,
      shares: message.shares,
      read: message.read ?? {},
      attention,
    });
    for (; this.plain < message.turn - RICH; this.plain++) {
      const old = this.turns[this.plain];
      if (old) old.picture = old.attention = old.patches = null;
    }
  }

  // What happened before this page was loaded: the turns of a `past` message.
  fill(turns) {
    for (const turn of turns) {
      this.addDecision(turn, null, null);
      const [heard, voice] = turn.loud ?? [null, null];
      Object.assign(this.at(turn.turn), { heard, voice: voice?.some((level) => level > 0) ? voice : null });
    }
  }

  // The session has gone back to before this turn.
  cut(turn) {
    this.turns.length = Math.min(turn, this.turns.length);
    this.plain = Math.min(turn, this.plain);
  }

  addLatency(milliseconds) {
    this.latencies.push(milliseconds);
    if (this.latencies.length > 100) this.latencies.shift();
  }

  // The q-quantile of the last round trips in milliseconds, or null.
  latency(q) {
    if (!this.latencies.length) return null;
    const sorted = [...this.latencies].sort((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
  }

  // How much of the decision's attention each stream gets: [4], summing to 1 (or null).
  shares(turn) {
    return this.turns[turn]?.shares ?? null;
  }
}

export const floats = (view) => new Float32Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));

// float32 bytes [4, n] -> {rows: [4 Float32Arrays of n], peak}
export function readAttention(view) {
  const values = floats(view);
  const n = values.length / STREAMS.length;
  const rows = STREAMS.map((_, row) => values.subarray(row * n, (row + 1) * n));
  return { rows, peak: values.reduce((peak, value) => Math.max(peak, value), 0) };
}

// Samples of a turn -> POINTS root-mean-square values.
export function loudness(samples) {
  const step = samples.length / POINTS;
  return Array.from({ length: POINTS }, (_, point) => rms(samples.subarray(point * step, (point + 1) * step)));
}

export function rms(samples) {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  return Math.sqrt(sum / Math.max(1, samples.length));
}

export const heardStart = (turn) => turn * TURN_SECONDS;
export const playedStart = (turn) => (turn + 1) * TURN_SECONDS; // a turn's output sounds one turn later
export { TURN_SAMPLES, TURN_SECONDS };
