// The rehearsed fall-back: a recorded session, message by message, played from the page's own memory. The kernel may
// be busy or gone meanwhile. The strip goes on from where it stood: the recording's turns follow the live ones.

import { TURN_SECONDS } from "./audio.js";

export class Fallback {
  constructor(engine) {
    this.engine = engine;
    this.playing = false;
    this.name = "";
    this.turns = []; // {heard: [message, buffers], turn: [message, buffers]}
    this.beat = this.beat.bind(this);
  }

  get ready() {
    return this.turns.length > 0;
  }

  // A `fallback` message.
  fill({ name, messages }, buffers) {
    this.name = name;
    this.turns = [];
    let next = 0;
    for (const message of messages) {
      const own = buffers.slice(next, (next += message.parts.length));
      if (message.kind === "heard") this.turns.push({ heard: [message, own] });
      else this.turns.at(-1).turn = [message, own];
    }
  }

  async start() {
    const { audio, history } = this.engine;
    this.playing = true;
    await audio.open().catch(() => {}); // without sound it is still seen
    this.first = Math.max(history.length, this.engine.seq ?? 0);
    this.chunkOf = this.turns.map((_, n) => this.first + n);
    this.told = 0;
    this.began = performance.now();
    if (!this.playing) return; // called off meanwhile
    if (audio.recording) audio.recording.onbeat = this.beat; // the sound's own clock goes on in a hidden tab
    this.timer = setInterval(this.beat, 50);
    this.beat();
  }

  stop() {
    this.playing = false;
    clearInterval(this.timer);
    if (this.engine.audio.recording) this.engine.audio.recording.onbeat = null;
  }

  // Tell what is due: turn n begins to sound at n * 0.2 s, and is answered when it is over.
  beat() {
    const due = Math.floor((performance.now() - this.began) / (1000 * TURN_SECONDS));
    while (this.playing && this.told <= Math.min(due, this.turns.length)) {
      const n = this.told++;
      if (n > 0) this.tell(this.turns[n - 1].turn, n - 1);
      if (n < this.turns.length) this.tell(this.turns[n].heard, n);
      else this.over();
    }
  }

  tell([message, buffers], n) {
    const place = this.first + n;
    const { engine } = this;
    if (message.kind === "heard") return engine.receive({ ...message, turn: place, recorded: true }, buffers);
    engine.receive({ ...message, seq: place, recorded: true }, buffers);
    Object.assign(engine.history.at(place), { chunkOf: this.chunkOf, recorded: true });
  }

  over() {
    this.stop();
    this.engine.fallbackOver();
  }
}
