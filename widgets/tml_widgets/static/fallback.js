// The rehearsed fall-back: a recorded session, message by message, played from the page's own memory. The kernel may
// be busy or gone meanwhile. It has a strip of its own, in the live one's place, with the recording's own time.

import { TURN_SECONDS } from "./audio.js";
import { History } from "./history.js";

export class Fallback {
  constructor(engine) {
    this.engine = engine;
    this.playing = false;
    this.onStage = false; // it is what the page shows: from its start until one goes back to the live session
    this.history = Object.assign(new History(), { recorded: true });
    this.name = "";
    this.failed = ""; // why there is none
    this.turns = []; // {heard: [message, buffers], turn: [message, buffers]}
    this.beat = this.beat.bind(this);
  }

  get ready() {
    return this.turns.length > 0;
  }

  // A `fallback` message.
  fill({ name, messages, failed = "" }, buffers) {
    this.name = name;
    this.failed = failed;
    this.turns = [];
    let next = 0;
    for (const message of messages) {
      const own = buffers.slice(next, (next += message.parts.length));
      if (message.kind === "heard") this.turns.push({ heard: [message, own] });
      else this.turns.at(-1).turn = [message, own];
    }
  }

  async start() {
    const { audio } = this.engine;
    this.playing = this.onStage = true;
    this.history.clear();
    await audio.open().catch(() => {}); // without sound it is still seen
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

  // The live session is what the page shows again.
  leave() {
    this.stop();
    this.onStage = false;
  }

  // Tell what is due: turn n begins to sound at n * 0.2 s, and is answered when it is over.
  beat() {
    const due = Math.floor((performance.now() - this.began) / (1000 * TURN_SECONDS));
    while (this.playing && this.told <= Math.min(due, this.turns.length)) {
      const n = this.told++;
      if (n > 0) this.tell(this.turns[n - 1].turn);
      if (n < this.turns.length) this.tell(this.turns[n].heard);
      else this.over();
    }
  }

  tell([message, buffers]) {
    this.engine.receive({ ...message, recorded: true }, buffers);
  }

  over() {
    this.stop();
    this.engine.fallbackOver();
  }
}
