// What the person sees and presses. The view only reads the engine; every action goes through it.

import { BesideView } from "./beside.js";
import { h, icon, ICONS } from "./dom.js";
import { isDark } from "./colours.js";
import { Strip } from "./strip.js";

const PHASES = {
  stopped: "Stopped",
  loading: "Starting",
  live: "Listening",
  paused: "Waiting",
  playing: "Playing a recording",
  error: "Not running",
};
const KEY_HELD = 600; // ms
const LATENCY_TITLE =
  "From the end of a 0.2 s turn in the browser to the model's answer back in the browser: median and 95th percentile of the last 100 turns";

export class View {
  constructor(model, engine, el) {
    Object.assign(this, { model, engine, el });
    this.build();
    this.strip = new Strip(this.canvas, engine.onStage);
    this.abort = new AbortController();
    const { signal } = this.abort;
    engine.addEventListener("turn", () => this.onTurn(), { signal });
    engine.addEventListener("status", () => this.showStatus(), { signal });
    engine.addEventListener("level", () => this.showLevel(), { signal });
    engine.addEventListener("beside", () => this.beside.update(), { signal });
    this.onHeads = () => this.fillHeads();
    this.onClips = () => this.fillClips();
    this.onTaught = () => this.showTaught();
    model.on("change:heads", this.onHeads);
    model.on("change:clips", this.onClips);
    model.on("change:colleague", this.onTaught);
    model.on("change:understands", this.onTaught);
    this.resize = new ResizeObserver(() => this.draw());
    this.resize.observe(this.canvas);
    this.theme = new MutationObserver(() => this.draw());
    this.theme.observe(document.body, { attributes: true });
    this.fillHeads();
    this.fillClips();
    this.showStatus();
  }

  dispose() {
    this.abort.abort();
    this.model.off("change:heads", this.onHeads);
    this.model.off("change:clips", this.onClips);
    this.model.off("change:colleague", this.onTaught);
    this.model.off("change:understands", this.onTaught);
    this.resize.disconnect();
    this.theme.disconnect();
  }

  build() {
    this.root = h("section.tml-live", {
      "aria-label": "Live session with the interaction model",
      "data-lm-suppress-shortcuts": "true", // Enter and Space belong to our buttons, not to the notebook
    });
    this.beside = new BesideView(this.engine);
    const main = h("div.tml-main", {}, this.buildStrip(), this.beside.root);
    this.listed = this.model.get("understands");
    this.panel = this.buildPanel();
    this.root.append(this.buildBar(), this.buildNotice(), main, this.buildBelow(), this.panel);
    this.el.append(this.root);
    this.showTaught();
  }

  button(name, path, label, onclick) {
    const text = h("span", {}, label);
    const button = h(`button.tml-${name}`, { type: "button", onclick }, icon(path), text);
    button.label = (words, shape) => {
      text.textContent = words;
      if (shape) button.firstChild.replaceWith(icon(shape));
    };
    return button;
  }

  buildBar() {
    const { engine } = this;
    this.startButton = this.button("start", ICONS.mic, "Start", (event) => this.startOrStop(event));
    this.endButton = this.button("end", ICONS.stop, "End", () => engine.stop());
    this.muteButton = this.button("mute", ICONS.mic, "Mute", () => engine.setMuted(!engine.muted));
    this.cameraButton = this.button("camera", ICONS.camera, "Camera", () => engine.setCamera(!engine.camera));
    this.clipList = h("select.tml-clips", { "aria-label": "Recording to play instead of the microphone" });
    this.playButton = this.button("play", ICONS.play, "Play instead", () => engine.play(this.clipList.value));
    this.saveButton = this.button("save", ICONS.save, "Save", () => engine.save());
    this.pill = h("span.tml-pill", { role: "status" });
    return h(
      "div.tml-bar",
      { role: "toolbar", "aria-label": "Session" },
      this.startButton, this.endButton, this.muteButton, this.cameraButton,
      h("span.tml-rule"),
      this.playGroup = h("span.tml-group", {}, this.clipList, this.playButton),
      this.saveButton,
      h("span.tml-space"),
      this.pill,
    );
  }

  // The second click of a double click, or a key that is held, would stop what the first has started.
  startOrStop(event) {
    const { engine } = this;
    const now = performance.now();
    const clicks = event?.detail ?? 0; // 0: a key
    if (clicks > 1 || (clicks === 0 && now - (this.pressed ?? -Infinity) < KEY_HELD)) return;
    if (clicks === 0) this.pressed = now;
    if (engine.running) this.leave();
    else if (engine.phase === "paused") engine.resume();
    else engine.start();
  }

  leave() {
    this.engine.stop();
  }

  buildNotice() {
    return (this.notice = h("p.tml-notice", { role: "alert", hidden: true }));
  }

  buildStrip() {
    this.canvas = h("canvas.tml-strip", {
      tabIndex: 0,
      role: "slider",
      "aria-label": "Turn shown on the time line",
      "aria-valuemin": "0",
      onkeydown: (event) => this.onKey(event),
      onpointermove: (event) => this.look(this.strip.turnAt(event.offsetX)),
      onpointerleave: () => this.look(null),
      onwheel: (event) => this.onWheel(event),
    });
    this.description = h("p.tml-described");
    this.log = h("p.tml-hidden", { "aria-live": "polite" });
    return h("div.tml-stage", {}, this.canvas, this.description, this.log);
  }

  buildBelow() {
    this.input = h("input.tml-type", {
      type: "text",
      placeholder: "e.g. repeat every number you hear",
      "aria-label": "Type to the model",
      autocomplete: "off",
      maxLength: 200,
      onkeydown: (event) => event.stopPropagation(), // the notebook has shortcuts on plain letters
    });
    const form = h(
      "form.tml-form",
      {
        onsubmit: (event) => {
          event.preventDefault();
          this.submit();
        },
      },
      this.input,
      h("button", { type: "submit" }, "Send"),
    );
    this.levelBar = h("span.tml-fill");
    const range = { role: "meter", "aria-label": "Sound level", "aria-valuemin": "-60", "aria-valuemax": "0" };
    this.levelMeter = h("span.tml-meter", range, this.levelBar);
    this.latency = h("span.tml-latency", { title: LATENCY_TITLE });
    this.layers = h("select", { "aria-label": "Layer whose attention is shown", onchange: () => this.fillHeadList() });
    this.headList = h("select", { "aria-label": "Head whose attention is shown", onchange: () => this.pick() });
    this.picker = h("span.tml-group", { hidden: true }, h("span.tml-small", {}, "attention of"), this.layers, this.headList);
    this.windows = h(
      "select",
      {
        "aria-label": "Seconds shown",
        onchange: () => {
          this.strip.seconds = Number(this.windows.value);
          this.draw();
        },
      },
      ...[6, 12, 30, 60].map((s) => h("option", { value: s, selected: s === 12 }, `${s} s`)),
    );
    return h(
      "div.tml-below",
      {},
      form,
      h("span.tml-group", {}, h("span.tml-small", {}, "level"), this.levelMeter),
      this.latency,
      this.picker,
      h("span.tml-group", {}, h("span.tml-small", {}, "show"), this.windows),
    );
  }

  // What a model on a server was taught is known when its session has begun.
  showTaught() {
    this.beside.root.hidden = !this.model.get("colleague");
    const understands = this.model.get("understands");
    if (!this.panel || understands === this.listed) return;
    const panel = this.buildPanel();
    panel.open = this.panel.open;
    this.panel.replaceWith(panel);
    Object.assign(this, { panel, listed: understands });
  }

  buildPanel() {
    const groups = this.model.get("understands") ?? [];
    if (!groups.length) return h("div");
    const list = (items) => h("ul", {}, ...items.map((item) => h("li", {}, ...this.wording(item))));
    const isLong = ({ items }) => items.reduce((sum, item) => sum + item.text.length, 0) > 2000; // lists of words
    const lists = groups
      .filter((group) => !isLong(group))
      .map(({ title, items }) => h("div.tml-family", {}, h("h4", {}, title), list(items)));
    const words = groups
      .filter(isLong)
      .map(({ title, items }) => h("details.tml-words", {}, h("summary", {}, title), list(items)));
    return h(
      "details.tml-panel",
      {},
      h("summary", {}, `What ${this.model.get("model_name")} understands`),
      h("p.tml-small", {}, "Say it or type it. A click puts the words into the box above."),
      h("div.tml-families", {}, ...lists),
      ...words,
    );
  }

  wording({ say, text }) {
    if (!say) return [text];
    const put = () => {
      this.input.value = say;
      this.input.focus();
    };
    return [h("button.tml-say", { type: "button", onclick: put }, say), ` ${text}`];
  }

  submit() {
    const text = this.input.value.trim();
    if (!text) return;
    this.engine.type(text);
    this.input.value = "";
  }

  fillClips() {
    const clips = this.model.get("clips") ?? [];
    this.clipList.replaceChildren(...clips.map((clip) => h("option", { value: clip }, clip)));
    this.playGroup.hidden = !clips.length;
  }

  fillHeads() {
    const heads = this.model.get("heads") ?? [];
    this.picker.hidden = !heads.length;
    if (!heads.length) return;
    this.layers.replaceChildren(...heads.map((_, i) => h("option", { value: i, selected: i === heads.length - 1 }, `layer ${i}`)));
    this.fillHeadList();
  }

  fillHeadList() {
    const count = (this.model.get("heads") ?? [])[Number(this.layers.value)] ?? 0;
    this.headList.replaceChildren(...Array.from({ length: count }, (_, i) => h("option", { value: i }, `head ${i}`)));
    this.pick();
  }

  pick() {
    this.engine.pick(Number(this.layers.value), Number(this.headList.value));
  }

  showStatus() {
    const { engine } = this;
    this.root.dataset.phase = engine.phase;
    const running = engine.running;
    const waits = engine.phase === "paused";
    this.startButton.label(running ? "Stop" : waits ? "Go on" : "Start", running ? ICONS.stop : ICONS.mic);
    this.endButton.hidden = !waits;
    this.startButton.classList.toggle("tml-running", running);
    this.muteButton.label(engine.muted ? "Unmute" : "Mute", engine.muted ? ICONS.muted : ICONS.mic);
    this.muteButton.setAttribute("aria-pressed", engine.muted);
    this.muteButton.disabled = engine.phase !== "live";
    this.cameraButton.setAttribute("aria-pressed", engine.camera);
    this.playButton.disabled = this.clipList.disabled = running;
    this.saveButton.disabled = engine.history.decided < 0;
    this.pill.textContent = engine.muted && engine.phase === "live" ? "Muted" : PHASES[engine.phase] ?? engine.phase;
    const words = engine.watchdog.notice || (engine.saved ? `Saved as ${engine.saved}` : engine.notice);
    this.notice.textContent = words;
    this.notice.hidden = !words;
    this.notice.classList.toggle("tml-trouble", engine.phase === "error");
    if (!running) this.latency.dataset.idle = "1";
    this.showLevel();
    this.draw();
  }

  showLevel() {
    const decibels = Math.max(-60, 20 * Math.log10(this.engine.level + 1e-6));
    this.levelBar.style.transform = `scaleX(${((decibels + 60) / 60).toFixed(3)})`;
    this.levelMeter.setAttribute("aria-valuenow", Math.round(decibels));
  }

  onTurn() {
    const history = this.engine.onStage;
    const turn = history.turns[history.decided];
    if (turn?.words.length) this.log.textContent = `The model says: ${turn.words.join(" ")}`;
    if (this.saveButton.disabled) this.saveButton.disabled = false;
    this.beside.tick();
    this.showLatency(turn);
    this.draw();
  }

  showLatency(turn) {
    const [p50, p95] = [this.engine.history.latency(0.5), this.engine.history.latency(0.95)];
    const parts = [];
    if (p50 !== null) parts.push(`round trip ${Math.round(p50)} ms (95 %: ${Math.round(p95)})`);
    parts.push(`model ${turn.modelMs.toFixed(0)} ms`);
    if (this.engine.lost) parts.push(`${this.engine.lost} turns lost`);
    if (this.engine.lostPictures) parts.push(`${this.engine.lostPictures} pictures skipped`);
    this.latency.textContent = parts.join(" · ");
    this.latency.title = `${this.latency.textContent}. ${LATENCY_TITLE}`;
    this.latency.classList.toggle("tml-slow", (p95 ?? turn.modelMs) > 200);
  }

  look(turn) {
    this.strip.cursor = turn;
    this.draw();
  }

  // Sideways, or with Shift: the plain wheel scrolls the notebook.
  onWheel(event) {
    const sideways = event.shiftKey ? event.deltaY + event.deltaX : event.deltaX;
    if (!sideways) return;
    event.preventDefault();
    this.strip.scroll((-sideways / this.canvas.clientWidth) * this.strip.seconds);
    this.draw();
  }

  onKey(event) {
    const { strip } = this;
    const last = this.engine.onStage.decided;
    const moves = { ArrowLeft: -1, ArrowRight: 1, PageUp: -25, PageDown: 25 };
    const before = strip.shown;
    if (event.key in moves) strip.cursor = strip.beside(Math.max(0, Math.min(last, strip.shown + moves[event.key])), moves[event.key]);
    else if (event.key === "Home") strip.cursor = 0;
    else if (event.key === "End" || event.key === "Escape") strip.cursor = null;
    else return;
    if (event.shiftKey && strip.cursor !== null) strip.choose(before, strip.cursor);
    event.preventDefault();
    event.stopPropagation();
    strip.reveal();
    this.draw();
  }

  dark() {
    return isDark(this.root);
  }

  draw() {
    if (!this.strip) return;
    this.root.dataset.theme = this.dark() ? "dark" : "light";
    this.strip.show(this.engine.onStage);
    this.strip.draw();
    const words = this.strip.describe();
    this.description.textContent = words || "Press Start and talk, or play a recording. On the strip, arrow keys step through the turns.";
    this.canvas.setAttribute("aria-valuemax", Math.max(0, this.engine.onStage.decided));
    this.canvas.setAttribute("aria-valuenow", Math.max(0, this.strip.shown));
    this.canvas.setAttribute("aria-valuetext", words || "nothing yet");
  }
}
