// One engine per widget model: it captures, sends, receives and remembers; views only show it.
// (One capture per *view* would send every chunk as often as the widget is shown.)

import { Desk } from "./beside.js";
import { AudioGraph, fromPcm, toPcm, TURN_SAMPLES } from "./audio.js";
import { Camera, HEIGHT, thumbnail, WIDTH } from "./camera.js";
import { inPlainWords, obstacle } from "./errors.js";
import { History, readAttention, rms } from "./history.js";
import { WidgetStreamSource } from "./sources.js";

const PICTURE_EVERY = 4; // turns between the pictures kept for the strip

export class Engine extends EventTarget {
  constructor(model) {
    super();
    this.model = model;
    this.source = new WidgetStreamSource(model);
    this.audio = new AudioGraph();
    this.history = new History();
    this.desk = new Desk(); // tasks in the background, and what they have drawn
    this.phase = "stopped"; // stopped | loading | live | playing | error
    this.notice = "";
    this.muted = false;
    this.camera = model.get("camera");
    this.level = 0;
    this.saved = "";
    this.lost = this.lostPictures = 0; // turns and pictures the model could not keep up with
    this.receive = this.receive.bind(this);
    model.on("msg:custom", this.receive);
    this.send({ kind: "hello", v: 1, secure: window.isSecureContext });
  }

  dispose() {
    this.model.off("msg:custom", this.receive);
    this.release();
    this.audio.close();
  }

  send(content, buffers = []) {
    this.model.send(content, undefined, buffers);
  }

  changed(what) {
    this.dispatchEvent(new Event(what));
  }

  show(phase, notice = "") {
    this.phase = phase;
    this.notice = notice;
    this.changed("status");
  }

  get running() {
    return this.phase === "live" || this.phase === "playing" || this.phase === "loading";
  }

  // The Start button.
  async start() {
    const trouble = obstacle();
    if (trouble) return this.fail(trouble, "insecure");
    this.show("loading", "Asking for the microphone ...");
    try {
      this.stream = await this.source.open(this.camera);
    } catch (error) {
      return this.fail(inPlainWords(error), error?.name);
    }
    if (!this.stream.getAudioTracks().length) return this.fail("This source has no sound.", "NoAudio");
    await this.audio.open();
    if (this.source.note) this.note = this.source.note;
    this.begin();
    this.send({ kind: "start", video: this.stream.getVideoTracks().length > 0 });
  }

  // "Play a recording instead": the kernel sends the clip's sound while the model hears it.
  async play(clip) {
    this.release();
    if (!window.AudioWorkletNode) return this.fail(obstacle(), "insecure");
    await this.audio.open();
    this.begin();
    this.send({ kind: "play", clip });
  }

  begin() {
    this.history.clear();
    this.audio.voice.flush();
    this.audio.recording.flush();
    this.saved = "";
    this.lost = this.lostPictures = 0;
    this.speaking = false;
    this.show("loading", "Waking the model ...");
  }

  stop() {
    this.release();
    this.audio.voice?.flush();
    this.audio.recording?.flush();
    this.send({ kind: "stop" });
  }

  fail(notice, error) {
    this.release();
    this.show("error", notice);
    this.send({ kind: "state", state: "error", error, notice });
  }

  release() {
    this.audio.release();
    this.eye?.close();
    this.eye = null;
    this.source.close();
    this.level = 0;
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

  // The session exists: from now on every 200 ms is a chunk.
  capture() {
    if (!this.stream) return;
    this.seq = 0;
    this.half = null;
    this.eye = this.stream.getVideoTracks().length ? new Camera(this.stream) : null;
    const [track] = this.stream.getAudioTracks();
    track.onended = () => this.fail("The microphone was unplugged or taken away.", "ended");
    this.send({ kind: "state", state: "live", rate: this.audio.context.sampleRate, settings: track.getSettings() });
    this.audio.capture(this.stream, (half) => this.halfTurn(half));
  }

  halfTurn(samples) {
    if (this.muted) samples.fill(0);
    this.level = rms(samples);
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
    const keep = pictures && seq % PICTURE_EVERY === 0;
    this.pending ??= new Map(); // by seq: the turn's number is known when the model answers
    this.pending.set(seq, { samples, picture: keep ? thumbnail(pictures[1]) : null });
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
    else if (message.kind === "ready") this.capture();
    else if (message.kind === "status") this.onStatus(message);
    else if (message.kind === "beside") {
      this.desk.update(message);
      this.changed("beside");
    }
    else if (message.kind === "saved") {
      this.saved = message.path;
      this.changed("status");
    }
  }

  onStatus({ phase, notice }) {
    if (phase === "stopped" || phase === "error") this.release();
    if (phase === "live" && this.note) [notice, this.note] = [this.note, ""];
    this.show(phase, notice);
  }

  onTurn(message, parts) {
    const samples = parts.pcm ? fromPcm(parts.pcm) : null;
    this.desk.turn = message.turn;
    if (samples) this.audio.voice?.play(message.turn, samples);
    else if (this.speaking) this.audio.voice?.end();
    this.speaking = Boolean(samples);
    if (message.t0 !== null) this.history.addLatency(performance.now() - message.t0);
    const sent = this.pending?.get(message.seq);
    if (sent) this.history.addHeard(message.turn, sent.samples, sent);
    for (const seq of this.pending?.keys() ?? []) if (seq <= message.seq) this.pending.delete(seq);
    this.lost += message.missed;
    this.lostPictures = message.lost_video;
    this.history.addDecision(message, samples, parts.attention ? readAttention(parts.attention) : null);
    this.changed("turn");
    if (message.turn % 5 === 4) this.send({ kind: "stats", ...this.stats() });
  }

  onHeard(message, parts) {
    const samples = fromPcm(parts.pcm);
    this.audio.recording?.play(message.turn, samples);
    this.level = rms(samples);
    const picture =
      parts.rgb && message.turn % PICTURE_EVERY === 0
        ? thumbnail(new Uint8Array(parts.rgb.buffer, parts.rgb.byteOffset, parts.rgb.byteLength), ...message.size)
        : null;
    this.history.addHeard(message.turn, samples, { said: message.text, picture });
    this.changed("level");
  }
}
