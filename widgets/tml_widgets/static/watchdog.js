// Notices what happens to a live session without anybody pressing anything: the browser stops the sound, the lid is
// closed and opened, the kernel does not answer. Nothing here runs on timers, which sleep in a hidden tab: it looks
// whenever a piece of sound comes, or the browser says that something has changed.

const ASLEEP = 3000; // ms without sound: the machine or the page slept
const BUSY = 2000; // ms without an answer to a chunk
const SILENT = "The kernel is busy and does not answer. If it has died, run its cell again.";
const AWAY = "No answer: the kernel or the server is busy, or the network is away. The session goes on by itself when it is back.";
const STOPPED = "The browser has stopped the sound (a call, or a sleep). Press Go on.";

export class Watchdog {
  constructor(engine) {
    this.engine = engine;
    this.late = false; // the kernel does not answer
    this.rest();
  }

  get notice() {
    if (!this.late) return "";
    return this.engine.model.get("elsewhere") ? AWAY : SILENT;
  }

  rest() {
    this.last = null;
    if (this.late) this.busy(false);
  }

  watch(track) {
    const { context } = this.engine.audio;
    this.last = performance.now();
    context.onstatechange = () => this.soundState(context);
    track.onmute = () => this.say("The microphone has fallen silent: it was muted outside this page.");
    track.onunmute = () => this.say("");
  }

  say(notice) {
    if (this.engine.phase === "live") this.engine.show("live", notice);
  }

  // "suspended", or "interrupted" on phones: it may come back by itself, or at a click.
  async soundState(context) {
    if (this.engine.phase !== "live" || context.state === "running" || context.state === "closed") return;
    await Promise.race([context.resume().catch(() => {}), new Promise((done) => setTimeout(done, 1000))]);
    if (context.state !== "running" && this.engine.phase === "live") this.engine.pause(STOPPED);
  }

  // A piece of sound has come.
  alive() {
    const now = performance.now();
    const slept = this.last !== null && now - this.last > ASLEEP;
    this.last = now;
    const { engine } = this;
    if (slept) engine.show(engine.phase, "The machine slept; the session goes on, with a gap.");
    const [oldest] = engine.pending.values();
    this.busy(Boolean(oldest) && now - oldest.sent > BUSY);
  }

  busy(late) {
    if (late === this.late) return;
    this.late = late;
    this.engine.changed("status");
  }
}
