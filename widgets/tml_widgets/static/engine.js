// One engine per widget model: it captures, sends, receives and remembers; views only show it.
// (One capture per *view* would send every chunk as often as the widget is shown.)

import { Desk } from "./beside.js";
import { AudioGraph, fromPcm, toPcm, TURN_SAMPLES, TURN_SECONDS } from "./audio.js";
import { Camera, HEIGHT, thumbnail, WIDTH } from "./camera.js";
import { inPlainWords, obstacle } from "./errors.js";
import { floats, History, readAttention, rms } from "./history.js";
import { Lead } from "./lead.js";
import { WidgetStreamSource } from "./sources.js";
import { Watchdog } from "./watchdog.js";

const PICTURE_EVERY = 4; // turns between the pictures kept for the strip
const GONE = "The kernel was restarted, so this view is dead, and what was not saved is gone: run its cell again.";
const ASKING = new Set(["why", "whatif", "save", "type", "cancel", "tick"]); // what waits for an answer

export class Engine extends EventTarget {
  constructor(model) {
    super();
    this.model = model;
    this.source = new WidgetStreamSource(model);
    this.audio = new AudioGraph();
    this.history = new History();
    this.lead = new Lead(TURN_SECONDS);
    this.desk = new Desk(); // tasks in the background, and what they have drawn
    this.watchdog = new Watchdog(this);
    this.page = Math.random().toString(36).slice(2); // which of several pages that show the session
    this.phase = "stopped"; // stopped | loading | live | paused | playing | error
    this.notice = "";
    this.muted = false;
    this.camera = model.get("camera");
    this.level = 0;
    this.saved = "";
    this.seen = null; // {turn, picture}: what the camera saw last
    this.pending = new Map(); // chunks without an answer, by number
    this.lost = this.lostPictures = 0; // turns and pictures the model could not keep up with
    this.waits = false; // a session is there that can be taken up again
    this.attempt = 0; // counts starts, so that one that was overtaken while it asked for the microphone gives up
    this.receive = this.receive.bind(this);
    model.on("msg:custom", this.receive);
    this.gone = false; // the kernel, and the session with it
    this.lostComm = () => this.kernelGone();
    model.on("comm:close", this.lostComm);
    model.on("comm_live_update", this.lostComm);
    this.send({ kind: "hello", v: 1, secure: window.isSecureContext });
  }

  dispose() {
    this.model.off("msg:custom", this.receive);
    this.model.off("comm:close", this.lostComm);
    this.model.off("comm_live_update", this.lostComm);
    this.release();
    this.audio.close();
  }

  send(content, buffers = []) {
    if (!this.gone) this.model.send(content, undefined, buffers);
    else if (ASKING.has(content.kind)) this.show(this.phase, GONE);
  }

  // What is pressed from now on is answered with the same words, not by waiting for a kernel that is another one.
  kernelGone() {
    this.gone = true;
    this.waits = false;
    return this.fail(GONE, "kernel");
  }

  changed(what) {
    this.dispatchEvent(new Event(what));
  }

  show(phase, notice = "") {
    if (notice) this.saved = ""; // what has just happened is more than where the recording lies
    this.phase = phase;
    this.notice = notice;
    this.changed("status");
  }

  // What the views show.
  get onStage() {
    return this.history;
  }

  // Where what the kernel tells belongs.
  historyOf() {
    return this.history;
  }

  get running() {
    return this.phase === "live" || this.phase === "playing" || this.phase === "loading";
  }

  // The Start button.
  async start() {
    if (!(await this.open())) return;
    this.begin();
    this.send({ kind: "start", video: this.stream.getVideoTracks().length > 0 });
  }

  // Take up the session that waits.
  async resume() {
    const live = this.stream?.active; // it only fell silent for a while
    if (!live && !(await this.open())) return;
    this.show("loading", "Taking up the session ...");
    this.send({ kind: "resume", seq: this.seq ?? 0 });
  }

  // The microphone; false when there is none, or when something else was pressed meanwhile.
  async open() {
    if (this.gone) return this.kernelGone();
    const trouble = obstacle();
    if (trouble) return this.fail(trouble, "insecure");
    const attempt = ++this.attempt;
    this.release();
    this.show("loading", "Asking for the microphone ...");
    try {
      const stream = await this.source.open(this.camera);
      await this.audio.open();
      if (attempt !== this.attempt) {
        for (const track of stream.getTracks()) track.stop();
        return false;
      }
      this.stream = stream;
    } catch (error) {
      return attempt === this.attempt && this.fail(inPlainWords(error), error?.name);
    }
    if (!this.stream.getAudioTracks().length) return this.fail("This source has no sound.", "NoAudio");
    if (this.source.note) this.note = this.source.note;
    return true;
  }

  // "Play a recording instead": the kernel sends the clip's sound while the model hears it.
  async play(clip) {
    if (this.gone) return this.kernelGone();
    this.attempt += 1;
    this.release();
    if (!window.AudioWorkletNode) return this.fail(obstacle(), "insecure");
    await this.audio.open();
    this.begin();
    this.send({ kind: "play", clip });
  }

  begin() {
    this.history.clear();
    this.quiet();
    this.saved = "";
    this.lost = this.lostPictures = 0;
    this.speaking = false;
    this.seq = 0;
    this.waits = false;
    this.show("loading", "Waking the model ...");
  }

  quiet() {
    this.lead.reset();
    this.audio.voice?.flush();
    this.audio.recording?.flush();
  }

  stop() {
    this.attempt += 1;
    this.release();
    this.quiet();
    this.send({ kind: "stop" });
  }

  // Let the session wait; `resume` takes it up again.
  pause(notice = "") {
    this.attempt += 1;
    this.release();
    this.quiet();
    this.show("paused", notice);
    this.send({ kind: "pause", notice, page: this.page });
  }

  // What the browser cannot do; a session that was live waits in the kernel.
  fail(notice, error) {
    const { waits } = this;
    this.release();
    if (waits) this.send({ kind: "pause", notice, page: this.page });
    this.show(waits ? "paused" : "error", notice);
    this.send({ kind: "state", state: "error", error, notice });
    return false;
  }

  release() {
    this.audio.release();
    this.eye?.close();
    this.eye = null;
    this.source.close();
    this.stream = null;
    this.pending.clear();
    this.level = 0;
    this.watchdog.rest();
  }

  setMuted(muted) {
    this.muted = muted;
    this.changed("status");
  }

  async setCamera(on) {
    this.camera = on;
    this.changed("status");
    if (!on || this.phase !== "live" || this.eye) return;
    try {
      this.eye = new Camera(await this.source.addCamera());
    } catch {
      this.camera = false;
      this.show("live", "The camera is missing or was refused; the model goes on listening.");
    }
  }

  save() {
    this.send({ kind: "save" });
  }

  type(text) {
    this.send({ kind: "type", text });
  }

  cancel(id) {
    this.send({ kind: "cancel", id });
  }

  tick(id, entry, done) {
    this.send({ kind: "tick", id, entry, done });
  }

  pick(layer, head) {
    this.send({ kind: "pick", layer, head });
  }

  // The session exists: from now on every 200 ms is a chunk. The kernel gives each its turn.
  capture(seq) {
    if (!this.stream) return;
    this.seq = seq;
    this.half = null;
    this.lead.reset(); // an answer on its way while it paused belonged to other times
    this.eye ??= this.stream.getVideoTracks().length ? new Camera(this.stream) : null;
    const [track] = this.stream.getAudioTracks();
    track.onended = () => this.fail("The microphone was unplugged or taken away. Plug it in and press Go on.", "ended");
    this.send({ kind: "state", state: "live", rate: this.audio.context.sampleRate, settings: track.getSettings() });
    this.audio.release();
    this.audio.capture(this.stream, (half) => this.halfTurn(half));
    this.watchdog.watch(track);
  }

  halfTurn(samples) {
    if (this.muted) samples.fill(0);
    this.level = rms(samples);
    this.watchdog.alive();
    const picture = this.camera ? this.eye?.grab() ?? null : null;
    if (!this.half) {
      this.half = { samples, picture };
      this.changed("level");
      return;
    }
    const turn = new Float32Array(TURN_SAMPLES);
    turn.set(this.half.samples);
    turn.set(samples, this.half.samples.length);
    this.sendChunk(turn, this.half.picture && picture ? [this.half.picture, picture] : null);
    this.half = null;
  }

  sendChunk(samples, pictures) {
    const seq = this.seq++;
    const content = { kind: "chunk", seq, t0: performance.now(), parts: ["pcm"], muted: this.muted };
    const buffers = [toPcm(samples).buffer];
    if (pictures) {
      const rgb = new Uint8Array(2 * pictures[0].length);
      rgb.set(pictures[0]);
      rgb.set(pictures[1], pictures[0].length);
      content.parts.push("rgb");
      content.size = [WIDTH, HEIGHT];
      buffers.push(rgb.buffer);
    }
    this.send(content, buffers);
    // By seq: the turn's number is known when the model answers.
    this.pending.set(seq, { samples, picture: pictures ? pictures[1] : null, sent: content.t0 });
    this.changed("level");
  }

  stats() {
    return {
      rate: this.audio.context?.sampleRate,
      ...this.audio.voice?.stats,
      fastest: this.history.latency(0),
      p50: this.history.latency(0.5),
      p95: this.history.latency(0.95),
      slowest: this.history.latency(1),
      turns: this.history.decided + 1,
    };
  }

  receive(message, buffers = []) {
    const parts = Object.fromEntries((message.parts ?? []).map((name, i) => [name, buffers[i]]));
    if (message.kind === "turn") this.onTurn(message, parts);
    else if (message.kind === "heard") this.onHeard(message, parts);
    else if (message.kind === "ready") this.capture(message.seq ?? 0);
    else if (message.kind === "status") this.onStatus(message);
    else if (message.kind === "past") {
      if (message.until !== undefined) this.history.cut(message.until);
      else if (!this.history.length) this.history.fill(message.turns);
      this.changed("turn");
    } else if (message.kind === "beside") {
      this.desk.update(message);
      this.changed("beside");
    } else if (message.kind === "saved") {
      this.saved = message.path;
      this.changed("status");
    }
  }

  onStatus({ phase, notice, held }) {
    this.waits = phase === "live" || phase === "paused";
    if (phase === "loading" && !this.running) this.history.clear(); // begun in a cell, not on this page
    // Held: asked to wait in another window, or by the kernel; then this window does not go on listening. (Its own pause
    // may be told late, by a kernel that was busy, when the microphone has been opened again.)
    const asked = phase === "paused" && held && held !== this.page;
    if (phase === "stopped" || phase === "error" || asked) this.release();
    if (phase === "live" && this.note) [notice, this.note] = [this.note, ""];
    this.show(phase, notice);
  }

  onTurn(message, parts) {
    const samples = parts.pcm ? fromPcm(parts.pcm) : null;
    const history = this.historyOf(message);
    if (!message.recorded) this.audio.voice?.wait(this.lead.came(message.turn, performance.now() / 1000));
    if (samples) this.audio.voice?.play(message.turn, samples);
    else if (this.speaking) this.audio.voice?.end();
    this.speaking = Boolean(samples);
    if (!message.recorded) this.settle(message);
    history.addDecision(message, samples, parts.attention ? readAttention(parts.attention) : null);
    if (parts.patches) history.at(message.turn).patches = { weights: floats(parts.patches), grid: message.grid };
    this.changed("turn");
    if (message.turn % 5 === 4 && !message.recorded) this.send({ kind: "stats", ...this.stats() });
  }

  // The chunk that this turn heard, and those before it, have their answer.
  settle({ turn, seq, t0, missed, lost_video }) {
    this.desk.turn = turn;
    if (t0 !== null) this.history.addLatency(performance.now() - t0);
    const sent = this.pending.get(seq);
    if (sent) {
      this.seen = sent.picture ? { turn, picture: thumbnail(sent.picture) } : null;
      this.history.addHeard(turn, sent.samples, { picture: turn % PICTURE_EVERY === 0 ? this.seen?.picture : null });
    }
    for (const older of this.pending.keys()) if (older <= seq) this.pending.delete(older);
    this.lost += missed;
    this.lostPictures = lost_video;
  }

  onHeard(message, parts) {
    const samples = fromPcm(parts.pcm);
    this.audio.recording?.play(message.turn, samples);
    this.level = rms(samples);
    const rgb = parts.rgb && new Uint8Array(parts.rgb.buffer, parts.rgb.byteOffset, parts.rgb.byteLength);
    this.seen = null;
    if (rgb) this.seen = { turn: message.turn, picture: thumbnail(rgb, ...message.size) };
    const picture = rgb && message.turn % PICTURE_EVERY === 0 ? this.seen.picture : null;
    this.historyOf(message).addHeard(message.turn, samples, { said: message.text, picture });
    this.changed("level");
  }
}
