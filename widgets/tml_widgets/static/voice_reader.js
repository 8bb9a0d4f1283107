// One text after the other stands there for its time, and what is heard meanwhile is sent as the recording of it.

import { AudioGraph, toPcm } from "./audio.js";
import { isDark } from "./colours.js";
import { h, icon, ICONS } from "./dom.js";
import { inPlainWords, obstacle } from "./errors.js";
import { rms } from "./history.js";
import { WidgetStreamSource } from "./sources.js";

const HALVES = 10; // messages of the capture worklet in a second
const READY = 8; // of them before the first text, to look up
const LOUD = 0.02; // root mean square that fills the meter's half

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

// Captures, counts time by the samples that came, and remembers which text is being read.
class Reading extends EventTarget {
  constructor(model) {
    super();
    this.model = model;
    this.source = new WidgetStreamSource(model);
    this.audio = new AudioGraph();
    this.running = false;
    this.at = -1; // the text that stands there; -1: none yet
    this.heard = [];
    this.wait = 0; // halves before the next text
    this.level = 0;
    this.notice = "";
    this.skipped = new Set(); // what failed in this round: it comes again behind the others
  }

  changed() {
    this.dispatchEvent(new Event("changed"));
  }

  get left() {
    return this.model.get("taken").filter((taken) => !taken).length;
  }

  // The next text that has not been read, behind the one that stands there; from the first one again when those are done.
  next() {
    const open = this.model.get("taken").map((taken, n) => (taken || n === this.sent ? -1 : n)).filter((n) => n >= 0);
    return open.find((n) => n > this.at) ?? open[0] ?? -1;
  }

  async start() {
    const hindrance = obstacle();
    if (hindrance || this.running) return this.say(hindrance);
    this.running = true;
    try {
      await this.audio.open();
      const stream = await this.source.open(false);
      if (!this.running) return this.stop();
      this.audio.capture(stream, (half) => this.hear(half));
    } catch (error) {
      this.stop();
      return this.say(inPlainWords(error));
    }
    this.sent = -1;
    this.at = this.next();
    this.wait = READY;
    this.heard = [];
    this.say("");
  }

  stop() {
    this.running = false;
    this.heard = [];
    this.audio.release();
    this.source.close();
    this.level = 0;
    this.changed();
  }

  say(notice) {
    this.notice = notice;
    this.changed();
  }

  back() {
    const taken = this.model.get("taken");
    const before = taken.lastIndexOf(true, this.at < 0 ? taken.length - 1 : this.at - 1);
    if (before < 0) return;
    this.model.send({ kind: "again", n: before });
    this.at = before;
    this.sent = -1;
    this.heard = [];
    this.wait = READY;
    this.changed();
  }

  // How much of the text's time is over, 0 to 1.
  get progress() {
    return this.at < 0 || this.wait ? 0 : this.heard.length / this.halves;
  }

  get halves() {
    return Math.round(this.model.get("seconds")[this.at] * this.model.get("pace") * HALVES);
  }

  hear(half) {
    if (!this.running) return;
    this.level = rms(half);
    if (this.wait) this.wait -= 1;
    else if (this.at >= 0) this.heard.push(half);
    if (this.at >= 0 && this.heard.length >= this.halves) this.send();
    this.changed();
  }

  send() {
    const samples = new Float32Array(this.heard.reduce((n, half) => n + half.length, 0));
    let filled = 0;
    for (const half of this.heard) {
      samples.set(half, filled);
      filled += half.length;
    }
    this.heard = [];
    this.sent = this.at; // its answer is still to come
    this.model.send({ kind: "clip", n: this.at }, undefined, [toPcm(samples).buffer]);
    this.at = this.next();
    this.wait = 1;
  }

  // The kernel has kept a clip, or has not.
  answered() {
    this.sent = -1;
    if (this.running && this.at < 0) this.at = this.next();
    if (this.running && this.left === 0) this.stop();
    else this.changed();
  }

  dispose() {
    this.stop();
    this.audio.close();
  }
}

class View {
  constructor(model, reading, el) {
    this.model = model;
    this.reading = reading;
    this.text = h("p.tml-text", { role: "status" });
    this.time = h("div.tml-time", { "aria-hidden": "true" }, h("div"));
    this.after = h("p.tml-after", { "aria-hidden": "true" });
    this.count = h("span.tml-count");
    this.meter = h("meter", { min: 0, max: 1, low: 0.1, title: "how loud it is", "aria-label": "level" });
    this.go = h("button.tml-go", { type: "button", onclick: () => this.toggle() });
    this.again = h("button", { type: "button", onclick: () => reading.back() }, "Read the last one again");
    this.pace = h("select", { onchange: () => this.setPace() });
    for (const [name, value] of [["slow", 1.4], ["usual", 1], ["quick", 0.75]]) {
      this.pace.append(h("option", { value, textContent: name, selected: value === model.get("pace") }));
    }
    this.note = h("p.tml-note", { role: "alert" });
    this.root = h("div.tml-reader", { tabIndex: 0, onkeydown: (event) => this.key(event) },
      this.text, this.time, this.after,
      h("div.tml-row", {}, this.go, this.again, h("label", {}, "Pace ", this.pace), this.meter, this.count), this.note);
    el.append(this.root);
    this.show = this.show.bind(this);
    this.answered = () => reading.answered();
    reading.addEventListener("changed", this.show);
    model.on("change:taken", this.answered);
    model.on("change:note", this.answered);
    this.show();
  }

  toggle() {
    if (this.reading.running) this.reading.stop();
    else this.reading.start();
  }

  setPace() {
    this.model.set("pace", Number(this.pace.value));
    this.model.save_changes();
  }

  key(event) {
    if (event.target !== this.root || event.ctrlKey || event.metaKey) return;
    if (event.key === " ") this.toggle();
    else if (event.key === "Backspace" || event.key === "ArrowLeft") this.reading.back();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  show() {
    const { reading, model } = this;
    const texts = model.get("texts");
    const left = reading.left;
    this.root.dataset.theme = isDark(this.root) ? "dark" : "light";
    this.text.textContent = reading.running && reading.at >= 0 ? texts[reading.at]
      : left === 0 ? "All is read. Thank you." : "Read each text aloud while it stands here.";
    this.text.classList.toggle("tml-ready", reading.wait > 1);
    this.time.firstChild.style.width = `${100 * reading.progress}%`;
    const following = reading.running && reading.at >= 0 ? reading.next() : -1;
    const minutes = Math.ceil((left * model.get("pace") * sum(model.get("seconds"))) / texts.length / 60);
    this.after.textContent = following >= 0 ? `next: ${texts[following]}`
      : !reading.running && left ? `About ${minutes} min in a quiet room. Space pauses; what goes wrong comes again at the end.` : "";
    this.count.textContent = `${texts.length - left} of ${texts.length} read`;
    this.meter.value = Math.min(1, (0.5 * reading.level) / LOUD);
    this.go.replaceChildren(icon(reading.running ? ICONS.pause : ICONS.mic), reading.running ? "Pause" : "Read");
    this.go.disabled = left === 0;
    this.again.disabled = left === texts.length;
    this.note.textContent = reading.notice || model.get("note");
  }

  dispose() {
    this.reading.removeEventListener("changed", this.show);
    this.model.off("change:taken", this.answered);
    this.model.off("change:note", this.answered);
  }
}

export default () => {
  let reading = null;
  return {
    initialize({ model }) {
      reading = new Reading(model);
      return () => reading.dispose();
    },
    render({ model, el }) {
      const view = new View(model, reading, el);
      return () => view.dispose();
    },
  };
};
