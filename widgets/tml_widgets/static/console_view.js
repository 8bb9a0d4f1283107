// The presenter's layout of the live widget: strip and captions large, all of it on keys, in the dark or in the light.

import { BesideView } from "./beside.js";
import { Captions } from "./captions.js";
import { helpDialog, onKey } from "./console_keys.js";
import { h, icon, ICONS } from "./dom.js";
import { isDark } from "./colours.js";
import { Sheet } from "./inquiry.js";
import { Sight } from "./sight.js";
import { View } from "./view.js";

const SIZES = [0.7, 0.8, 0.9, 1, 1.15, 1.3, 1.5, 1.75, 2, 2.5];
const MADE_FOR = 1280; // pixels of width at size 1

export class ConsoleView extends View {
  build() {
    const { engine } = this;
    this.root = h("section.tml-live.tml-console", {
      "aria-label": "Presenter's console of the interaction model; press question mark for its keys",
      "data-lm-suppress-shortcuts": "true",
      tabIndex: -1,
      onkeydown: (event) => onKey(this, event),
    });
    this.captions = new Captions();
    this.sight = new Sight(engine);
    this.beside = new BesideView(engine);
    this.sheet = new Sheet(this);
    this.keys = helpDialog();
    const left = h("div.tml-left", {}, this.buildStrip(), this.captions.root);
    const right = h("div.tml-right", {}, this.sight.root, this.beside.root);
    this.root.append(this.buildBar(), this.buildNotice(), h("div.tml-main", {}, left, right, this.sheet.root), this.buildBelow(), this.keys);
    this.el.append(this.root);
    this.showTaught();
    for (const type of ["pointerdown", "pointermove"]) this.canvas.addEventListener(type, (event) => this.dragFrom(event));
    this.fit = new ResizeObserver(() => this.autoSize());
    this.fit.observe(this.el);
    this.answers = new AbortController();
    const { signal } = this.answers;
    engine.addEventListener("why", ({ detail }) => this.sheet.why(detail), { signal });
    engine.addEventListener("whatif", ({ detail }) => this.sheet.whatIf(detail, detail.sounds), { signal });
  }

  dispose() {
    this.answers.abort();
    this.fit.disconnect();
    super.dispose();
  }

  buildBar() {
    super.buildBar();
    this.fallbackButton = this.button("fallback", ICONS.play, "Recording", () => this.fallback());
    this.whyButton = this.button("why", ICONS.why, "Why now?", () => this.why());
    this.whatIfButton = this.button("whatif", ICONS.fork, "What if?", () => this.whatIf());
    this.rewindButton = this.button("rewind", ICONS.back, "Go back", () => this.rewind());
    this.markButton = this.button("mark", ICONS.flag, "Mark", () => this.bookmark());
    this.markButton.title = "Bookmark";
    const small = (name, label, sign, onclick) => h(`button.tml-${name}`, { type: "button", "aria-label": label, title: label, onclick }, sign);
    this.captionsButton = small("captions-on", "Captions", icon(ICONS.words), () => this.captionsOnOff());
    this.captionsButton.setAttribute("aria-pressed", "true");
    return h(
      "div.tml-bar",
      { role: "toolbar", "aria-label": "Session" },
      this.startButton, this.endButton, this.muteButton, this.cameraButton, this.fallbackButton,
      h("span.tml-rule"),
      this.whyButton, this.whatIfButton, this.rewindButton, this.markButton, this.saveButton,
      h("span.tml-space"),
      h(
        "span.tml-group", {},
        this.captionsButton,
        small("dark", "Dark or light", icon(ICONS.half), () => this.darkOrLight()),
        small("smaller", "Smaller", "A\u2212", () => this.smaller()),
        small("larger", "Larger", "A+", () => this.larger()),
        small("full", "Fill the screen", icon(ICONS.full), () => this.fullScreen()),
        small("keys", "Keys", "?", () => this.help()),
      ),
      this.pill,
    );
  }

  buildNotice() {
    const notice = super.buildNotice();
    this.offer = h("button.tml-offer", { type: "button", hidden: true, onclick: () => this.fallback() }, "Play the rehearsed recording (F)");
    return h("div.tml-notices", {}, notice, this.offer);
  }

  // Keys and buttons.

  leave() {
    if (this.engine.fallback.playing) this.engine.backToLive();
    else if (this.engine.phase === "live") this.engine.pause("The session waits. Space goes on; N begins a new one.");
    else this.engine.stop();
  }

  fallback() {
    this.engine.toggleFallback();
  }

  fresh() {
    if (!this.engine.running) this.engine.start();
    else this.engine.say("Let the session wait first (Space); then N begins a new one.");
  }

  mute() {
    this.engine.setMuted(!this.engine.muted);
  }

  camera() {
    this.engine.setCamera(!this.engine.camera);
  }

  save() {
    this.engine.save();
  }

  typeWords() {
    this.input.focus();
  }

  get zoom() {
    return this.strip.zoom;
  }

  // Of the turn that is looked at, or of the last time it began to speak.
  why() {
    if (this.engine.asks) this.engine.send({ kind: "why", turn: this.strip.cursor });
  }

  // The stretch that was chosen, or the second before the turn that is looked at.
  whatIf() {
    const at = this.strip.shown;
    if (!this.engine.asks) return undefined;
    if (at < 0) return this.engine.say("Nothing has happened yet: start a session first.");
    const [from, to] = this.strip.span ?? [Math.max(0, at - 5), at + 1];
    return this.sheet.ask(from, to);
  }

  // To before the turn that is looked at.
  rewind() {
    const { cursor } = this.strip;
    if (cursor === null) return this.engine.say("Look at a turn first (arrow keys, a click, or a bookmark); R then goes back to it.");
    this.engine.rewind(cursor);
    this.sheet.close();
    return this.escape();
  }

  // Into the room; what the microphone picks up of it is not for the model.
  listen(samples) {
    const { engine } = this;
    if (engine.phase === "live" && !engine.muted) engine.setMuted(true);
    engine.listen(samples);
  }

  bookmark() {
    this.engine.bookmark(this.strip.shown);
  }

  goToBookmark(number) {
    const mark = this.model.get("bookmarks")[number - 1];
    if (mark === undefined || !this.engine.asks) return;
    this.strip.cursor = mark;
    this.strip.reveal();
    this.draw();
  }

  captionsOnOff() {
    const on = this.captions.root.hidden;
    this.captions.root.hidden = !on;
    this.captionsButton.setAttribute("aria-pressed", on);
  }

  darkOrLight() {
    this.chosenTheme = this.root.dataset.theme === "dark" ? "light" : "dark";
    this.draw();
  }

  fullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.root.requestFullscreen?.().then(() => this.root.focus(), () => {});
  }

  help() {
    this.keys.showModal();
  }

  escape() {
    if (this.keys.open) this.keys.close();
    else if (this.sheet.open) this.sheet.close();
    else {
      this.strip.cursor = this.strip.span = null;
      this.strip.reveal();
    }
    this.root.focus();
    this.draw();
  }

  larger() {
    this.step(1);
  }

  smaller() {
    this.step(-1);
  }

  step(by) {
    const now = SIZES.findIndex((size) => size >= this.strip.zoom - 1e-6);
    this.chosen = true;
    this.resizeTo(SIZES[Math.max(0, Math.min(SIZES.length - 1, now + by))]);
  }

  // As large as the width allows, until somebody chooses.
  autoSize() {
    if (this.chosen || !this.strip) return;
    const width = document.fullscreenElement === this.root ? window.innerWidth : this.el.clientWidth;
    this.resizeTo(SIZES.findLast((size) => size * MADE_FOR <= width) ?? SIZES[0]);
  }

  resizeTo(size) {
    this.root.style.setProperty("--size", size);
    this.strip.zoom = size;
    this.draw();
    this.captions.toEnd();
  }

  // A click looks at a turn, and a drag chooses a stretch; a mouse that only passes by moves nothing.
  look() {}

  dragFrom(event) {
    if (event.buttons !== 1) return;
    const { strip } = this;
    const heard = strip.heardAt(event.offsetX);
    if (event.type === "pointerdown") [strip.span, this.from] = [null, heard];
    else if (heard !== this.from || strip.span) strip.choose(this.from, heard);
    strip.cursor = strip.turnAt(event.offsetX);
    this.draw();
  }

  // Showing.

  showStatus() {
    super.showStatus();
    const { engine } = this;
    const { fallback } = engine;
    if (fallback.playing) this.endButton.hidden = true; // of the live session, which is not on the page
    if (engine.phase === "live" && !fallback.playing) this.startButton.label("Pause", ICONS.pause);
    if (fallback.playing) this.pill.textContent = "Recorded session";
    this.root.dataset.recorded = fallback.playing;
    const { late } = engine.watchdog;
    this.offer.hidden = fallback.playing || !fallback.ready || !(late || engine.phase === "error" || (engine.phase === "paused" && engine.notice));
    this.fallbackButton.label(fallback.playing ? "Back" : "Recording");
    this.fallbackButton.setAttribute("aria-pressed", fallback.playing);
    this.fallbackButton.title = fallback.ready ? fallback.name : fallback.failed || "The recording is being rehearsed";
    this.caption();
  }

  onTurn() {
    super.onTurn();
    this.caption();
  }

  caption() {
    const { engine } = this;
    const runs = engine.fallback.onStage ? engine.fallback.playing : engine.running;
    this.captions.update(engine.onStage, !runs);
  }

  draw() {
    if (!this.strip) return;
    this.strip.marks = this.engine.fallback.onStage ? [] : this.model.get("bookmarks");
    super.draw();
    this.sheet.draw(this.strip.zoom);
    this.sight.draw(this.engine.onStage.turns[this.strip.shown]);
  }

  dark() {
    return this.chosenTheme ? this.chosenTheme === "dark" : isDark(this.root);
  }
}
