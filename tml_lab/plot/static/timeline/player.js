// Plays the recording: pieces of sound scheduled one after the other, to the sample, and where in it we are.

import { Stretcher } from "./stretch.js";

export const RATE = 16000;
const BLOCK = 2; // seconds of one block, as Python and pages cut them
const AHEAD = 1.2; // seconds that are scheduled before they sound
const LISTEN = { both: [1, 0, 0, 1], mixed: [0.7, 0.7, 0.7, 0.7], heard: [1, 1, 0, 0], own: [0, 0, 1, 1] };

// block(n) -> promise of [heard, own], Float32Arrays of 2 s, from second 2 n on.
export class Player {
  constructor(seconds, block) {
    Object.assign(this, { seconds, block, speed: 1, loop: false, listen: "both", stopped: () => {} });
    this.run = null;
  }

  get playing() {
    return this.run !== null;
  }

  // Browsers keep sound back until a click: call this from one.
  async play(from, until = this.seconds) {
    this.stop();
    if (!this.context) this.connect();
    const run = { from, until, next: from, at: 0, pieces: [], nodes: new Set(), stretcher: null, busy: false };
    this.run = run;
    await this.context.resume();
    if (this.run !== run) return;
    run.at = this.context.currentTime + 0.06;
    run.timer = setInterval(() => this.fill(run), 150);
    await this.fill(run);
  }

  connect() {
    this.context = new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
    this.entry = this.context.createChannelSplitter(2);
    const exit = this.context.createChannelMerger(2);
    // heard to the left and right ear, own to the left and right ear
    this.gains = [[0, 0], [0, 1], [1, 0], [1, 1]].map(([from, to]) => {
      const gain = this.context.createGain();
      this.entry.connect(gain, from);
      gain.connect(exit, 0, to);
      return gain;
    });
    exit.connect(this.context.destination);
    this.hear(this.listen);
  }

  hear(listen) {
    this.listen = listen;
    this.gains?.forEach((gain, n) => (gain.gain.value = LISTEN[listen][n]));
  }

  async fill(run) {
    if (run.busy) return;
    run.busy = true;
    while (this.run === run && run.at < this.context.currentTime + AHEAD) {
      if (run.next >= run.until - 1e-6) {
        if (!this.loop || run.until - run.from < 0.05) break;
        [run.next, run.stretcher] = [run.from, null];
      }
      await this.schedule(run);
    }
    run.busy = false;
    if (this.run === run && run.next >= run.until - 1e-6 && this.context.currentTime > run.at) this.stop();
  }

  async schedule(run) {
    const number = Math.floor(run.next / BLOCK + 1e-9);
    const end = Math.min(run.until, (number + 1) * BLOCK);
    const whole = await this.block(number);
    if (this.run !== run) return;
    const sample = (t) => Math.round((t - number * BLOCK) * RATE);
    let pair = whole.map((samples) => samples.subarray(sample(run.next), sample(end)));
    if (this.speed !== 1) {
      run.stretcher ??= new Stretcher(this.speed);
      pair = run.stretcher.push(pair);
    }
    if (pair[0].length) {
      const buffer = this.context.createBuffer(2, pair[0].length, RATE);
      pair.forEach((samples, side) => buffer.copyToChannel(samples, side));
      const node = new AudioBufferSourceNode(this.context, { buffer });
      node.connect(this.entry);
      run.at = Math.max(run.at, this.context.currentTime + 0.02); // a block that came late leaves a gap
      node.start(run.at);
      run.nodes.add(node);
      node.onended = () => run.nodes.delete(node);
      run.pieces.push({ at: run.at, t: run.next, end, length: buffer.duration });
      if (run.pieces.length > 40) run.pieces.shift();
      run.at += buffer.duration;
    }
    run.next = end;
  }

  // The second that sounds now, or null.
  now() {
    if (!this.run?.pieces.length) return null;
    const at = this.context.currentTime - (this.context.outputLatency || 0);
    const piece = this.run.pieces.findLast((one) => one.at <= at) ?? this.run.pieces[0];
    const part = Math.min(1, Math.max(0, (at - piece.at) / piece.length));
    return piece.t + part * (piece.end - piece.t);
  }

  // A new speed, from where we are.
  async pace(speed) {
    const [at, until] = [this.now(), this.run?.until];
    this.speed = speed;
    if (at !== null) {
      const from = this.run.from;
      await this.play(at, until);
      if (this.run) this.run.from = from; // a loop goes back to its own begin
    }
  }

  stop() {
    const run = this.run;
    if (!run) return;
    this.run = null;
    clearInterval(run.timer);
    for (const node of run.nodes) {
      node.onended = null;
      node.stop();
    }
    this.stopped();
  }

  close() {
    this.stop();
    this.context?.close();
    this.context = null;
  }
}
