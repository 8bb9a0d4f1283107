// "Why now?" and "What if?": a sheet over the strip. The seconds asked about stand still on it, and the session goes on.

import { h } from "./dom.js";
import { heardStart, History } from "./history.js";
import { Strip } from "./strip.js";

const FROZEN = ["p(speak)", "heard", "seen", "typed", "own voice"];
const PLAIN = ["p(speak)", "heard", "typed", "own voice"];
const ROOM = 1.0; // seconds after the last turn, for the word that it says

// The turns [from, to) of a history, as they are now.
function frozen(history, from, to) {
  const copy = new History();
  for (let n = from; n < to; n++) if (history.turns[n]) copy.turns[n] = { ...history.turns[n], attention: null };
  return copy;
}

class Frozen {
  constructor(history, from, to, only, label) {
    this.canvas = h("canvas.tml-strip", { role: "img", "aria-label": label });
    this.strip = new Strip(this.canvas, history);
    this.strip.only = only;
    this.strip.seconds = heardStart(to - from) + ROOM;
    this.strip.lastSecond = heardStart(to) + ROOM;
  }

  draw(zoom) {
    this.strip.zoom = zoom;
    this.strip.draw();
  }
}

export class Sheet {
  constructor(view) {
    this.view = view;
    this.title = h("h3");
    this.sentence = h("p.tml-sentence", { role: "status" });
    this.bar = h("span.tml-fill");
    this.progress = h("span.tml-meter", { role: "progressbar", "aria-label": "How far it is", "aria-valuemin": "0", "aria-valuemax": "100" }, this.bar);
    this.body = h("div.tml-sheet-body");
    const close = h("button", { type: "button", onclick: () => this.close() }, "Close (Esc)");
    this.root = h("section.tml-sheet", { hidden: true, "aria-label": "What drove a decision" }, h("div.tml-sheet-head", {}, this.title, this.progress, close), this.sentence, this.body);
    this.strips = [];
  }

  get open() {
    return !this.root.hidden;
  }

  show(title, sentence) {
    this.root.hidden = false;
    this.title.textContent = title;
    this.sentence.textContent = sentence;
    this.strips = [];
    this.body.replaceChildren();
    this.far(0);
  }

  far(share) {
    this.progress.hidden = share >= 1;
    this.bar.style.transform = `scaleX(${share})`;
    this.progress.setAttribute("aria-valuenow", Math.round(100 * share));
  }

  close() {
    this.root.hidden = true;
    this.sentence.textContent = ""; // the next answer is not to be mistaken for this one
    this.strips = [];
    this.view.engine.audio.recording?.flush();
    this.view.root.focus();
  }

  draw(zoom) {
    if (this.open) for (const strip of this.strips) strip.draw(zoom);
  }

  // A `why` message: again and again, with more and more of the figure.
  why(message) {
    if (message.failed) return this.show("Why now?", message.failed), this.far(1);
    const { engine, zoom } = this.view;
    if (message.share === 0) {
      this.show("Why now? These seconds stand still; the session goes on.", "Taking away one thing after another, and asking the model again ...");
      const history = frozen(engine.history, message.from, message.to);
      const strip = new Frozen(history, message.from, message.to, FROZEN, "The seconds asked about");
      strip.strip.cursor = message.turn;
      this.strips = [strip];
      this.note = h("p.tml-small");
      this.body.replaceChildren(strip.canvas, this.note);
    } else if (this.strips.length) {
      this.strips[0].strip.without = message;
      this.sentence.textContent = message.sentence;
      const typed = message.tried
        .filter(({ stream }) => stream === "typed")
        .map(({ words, p, from }) => `Without \u201c${words}\u201d, typed at ${heardStart(from).toFixed(1)} s: p(speak) ${p.toFixed(2)}. `);
      const layers = message.layers.map((value) => value.toFixed(1)).join(", ");
      this.note.textContent =
        `${typed.join("")}Bars: p(speak) of this decision (${message.p.toFixed(2)} as it was) without that stretch; a full colour changes the decision. ` +
        `Wish to speak as read after each layer: ${layers}. ${message.runs} runs of the model.`;
      this.far(message.share);
    }
    return this.draw(zoom);
  }

  // The form of a "what if?": which stretch, and what is otherwise there.
  ask(from, to) {
    this.show("What if?", `Between ${heardStart(from).toFixed(1)} and ${heardStart(to).toFixed(1)} s:`);
    this.progress.hidden = true;
    const kind = (name, words, checked) => {
      const box = h("input", { type: "checkbox", name, checked });
      return h("label", {}, box, ` ${words}`);
    };
    const boxes = [kind("audio", "silence what was heard", true), kind("typed", "leave out what was typed", false), kind("frames", "grey the pictures", false)];
    const typed = h("input.tml-type", {
      type: "text", placeholder: "and type instead (may stay empty)", "aria-label": "Words typed instead", maxLength: 200,
    });
    const run = h("button.tml-run", { type: "submit" }, "Run it both ways");
    const form = h(
      "form.tml-what", {
        onsubmit: (event) => {
          event.preventDefault();
          const parts = boxes.map((label) => label.firstChild).filter((box) => box.checked).map((box) => box.name);
          this.view.engine.send({ kind: "whatif", from, to, parts, typed: typed.value });
        },
      },
      ...boxes, typed, run,
    );
    this.answer = h("div");
    const hint = h("p.tml-small", {}, "Another stretch: close this, then Shift with the arrow keys, or drag on the strip.");
    this.body.replaceChildren(form, hint, this.answer);
    run.focus();
  }

  // A `whatif` message; `sounds`: both ways as float32 samples.
  whatIf(message, sounds) {
    if (!this.open || !this.answer) return;
    if (message.failed) {
      this.sentence.textContent = message.failed;
      this.far(1);
      return;
    }
    this.far(message.share);
    if (message.was) this.both(message, sounds);
    else if (message.share === 0) this.sentence.textContent = "Running it the other way ...";
  }

  both(message, sounds) {
    this.sentence.textContent = message.sentence;
    const names = { was: "As it happened", would: "What if" };
    const [from, to] = [message.was[0].turn, message.was.at(-1).turn + 1];
    this.strips = [];
    const rows = Object.keys(names).map((name) => {
      const history = new History();
      history.fill(message[name]);
      const strip = new Frozen(history, from, to, PLAIN, names[name]);
      this.strips.push(strip);
      const listen = h("button", { type: "button", onclick: () => this.view.listen(sounds[name]) }, "Listen");
      return h("div.tml-way", {}, h("h4", {}, names[name], listen), strip.canvas);
    });
    this.answer.replaceChildren(h("div.tml-ways", {}, ...rows));
    this.draw(this.view.strip.zoom);
  }
}
