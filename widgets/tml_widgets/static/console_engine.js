// What the console can do beyond the live widget: the fall-back, and bookmarks.

import { fromPcm } from "./audio.js";
import { Engine } from "./engine.js";
import { Fallback } from "./fallback.js";

export class ConsoleEngine extends Engine {
  constructor(model) {
    super(model);
    this.fallback = new Fallback(this);
  }

  get running() {
    return super.running || Boolean(this.fallback?.playing);
  }

  get onStage() {
    return this.fallback?.onStage ? this.fallback.history : this.history;
  }

  historyOf(message) {
    return message.recorded ? this.fallback.history : this.history;
  }

  // From the microphone to the recording, and back.
  toggleFallback() {
    if (this.fallback.playing) return this.backToLive();
    if (this.fallback.failed) return this.say(this.fallback.failed);
    if (!this.fallback.ready) return this.say("The fall-back is still being rehearsed; try again in a few seconds.");
    this.before = this.phase === "playing" || this.phase === "loading" ? "stopped" : this.phase;
    if (this.phase === "playing") this.stop();
    else if (this.phase === "live") this.pause();
    else if (this.phase === "loading") this.attempt += 1;
    const started = this.fallback.start();
    this.show(this.waits ? "paused" : "stopped", `A recorded session: ${this.fallback.name}. F goes back.`);
    return started;
  }

  backToLive() {
    this.fallback.leave();
    this.quiet();
    this.seen = null;
    if (this.gone) return this.kernelGone();
    if (this.before === "live") return this.resume();
    return this.show(this.waits ? "paused" : "stopped");
  }

  fallbackOver() {
    const live = this.waits ? "Space goes on with the live session." : "Space starts the microphone.";
    const back = this.gone ? "The kernel was restarted: run the cell again for a live session." : live;
    this.show(this.waits ? "paused" : "stopped", `The recording is over. ${back} F plays it again.`);
  }

  say(notice) {
    this.show(this.phase, notice);
  }

  start() {
    this.fallback.leave();
    return super.start();
  }

  resume() {
    this.fallback.leave();
    return super.resume();
  }

  play(clip) {
    this.fallback.leave();
    return super.play(clip);
  }

  // What is asked of a turn can only be asked of the live session.
  get asks() {
    if (this.fallback.onStage) this.say("This is the recording: F goes back to the live session, of which this can be asked.");
    return !this.fallback.onStage;
  }

  // Only the fall-back itself may draw while it plays; what the kernel still answers is over.
  receive(message, buffers = []) {
    if (message.kind === "fallback") {
      this.fallback.fill(message, buffers);
      return this.changed("status");
    }
    if (message.kind === "why" || message.kind === "whatif") return this.answered(message, buffers);
    if (this.fallback?.playing && !message.recorded && message.kind === "status") {
      this.waits = message.phase === "live" || message.phase === "paused";
      return undefined;
    }
    if (message.kind === "status" && message.phase === "loading") this.fallback?.leave(); // begun in a cell
    return super.receive(message, buffers);
  }

  answered(message, buffers) {
    const sounds = Object.fromEntries((message.parts ?? []).map((name, i) => [name, buffers[i] && fromPcm(buffers[i])]));
    return this.dispatchEvent(new CustomEvent(message.kind, { detail: { ...message, sounds } }));
  }

  // Plays a sound into the room.
  async listen(samples) {
    await this.audio.open();
    const player = this.audio.recording;
    player.flush();
    player.play(0, samples);
    player.end();
  }

  // Back to before a turn, where the session waits; Space then goes on from there, another way.
  rewind(turn) {
    if (!this.asks) return;
    if (!this.waits) return void this.say("There is no session that can go back: press Space to start one.");
    this.attempt += 1;
    this.release();
    this.quiet();
    this.show("loading", "Going back ...");
    this.send({ kind: "rewind", turn, page: this.page });
  }

  // A flag at the turn that is looked at, or the newest.
  bookmark(turn) {
    if (turn < 0 || !this.asks) return;
    const marks = this.model.get("bookmarks");
    const rest = marks.filter((mark) => mark !== turn);
    this.model.set("bookmarks", rest.length === marks.length ? [...marks, turn] : rest);
    this.model.save_changes();
    this.changed("turn");
  }
}
