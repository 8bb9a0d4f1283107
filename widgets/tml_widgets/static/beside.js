// Beside the strip: what runs in the background, and the panel that it draws.
// The engine keeps a `Desk` (what there is), each view a `BesideView` (how it looks). An element stays the same element
// while its task or item is there, so that the keyboard's focus stays where it is.

import { drawChart } from "./chart.js";
import { h } from "./dom.js";
import { TURN_SECONDS } from "./audio.js";

export class Desk {
  constructor() {
    this.items = new Map();
    this.tasks = [];
    this.turn = 0; // the model's
  }

  update({ turn, put, remove, tasks, whole }) {
    if (whole) this.items.clear();
    for (const id of remove) this.items.delete(id);
    for (const item of put) this.items.set(item.id, item);
    this.tasks = tasks;
    this.turn = turn;
  }
}

export class BesideView {
  constructor(engine) {
    this.engine = engine;
    this.rows = new Map(); // by task
    this.cards = new Map(); // by item
    this.list = h("ul.tml-tasks");
    this.idle = h("p.tml-small", {}, "Nothing is running.");
    this.empty = h("p.tml-small", {}, "Nothing is drawn yet.");
    this.shown = h("div.tml-cards");
    this.log = h("p.tml-hidden", { role: "status" });
    this.root = h(
      "aside.tml-beside",
      { "aria-label": "Beside the conversation", tabIndex: 0 },
      h("h3", {}, "In the background"), this.list, this.idle,
      h("h3", {}, "Panel"), this.shown, this.empty,
      this.log,
    );
    this.update();
  }

  update() {
    const { tasks, items } = this.engine.desk;
    keep(this.rows, tasks.map((task) => [task.id, task]), this.list, (task) => this.row(task));
    keep(this.cards, [...items], this.shown, (item) => this.card(item));
    this.idle.hidden = tasks.length > 0;
    this.empty.hidden = items.size > 0;
    this.tick();
  }

  // Timers follow the session's turns, not the clock on the wall.
  tick() {
    for (const card of this.cards.values()) card.tick?.(this.engine.desk.turn);
  }

  say(words) {
    this.log.textContent = words;
  }

  row(first) {
    const name = h("span.tml-asked", {}, `${first.tool} ${first.request}`.trim());
    name.title = name.textContent; // which may be cut
    const text = h("span.tml-small");
    const cancel = h(
      "button.tml-cancel",
      { type: "button", "aria-label": `Cancel ${name.textContent}`, onclick: () => this.engine.cancel(first.id) },
      "Cancel",
    );
    const row = h("li", {}, h("div", {}, name, text), cancel);
    let before = "";
    row.show = ({ status, text: news }) => {
      row.dataset.status = status;
      cancel.hidden = status !== "open";
      text.textContent = { open: news || "working …", done: news, failed: `failed: ${news}` }[status] ?? news;
      if (status !== before && status !== "open") this.say(`${name.textContent}: ${text.textContent}`);
      before = status;
    };
    return row;
  }

  card(first) {
    const title = h("h4", { id: `tml-item-${(BesideView.count = (BesideView.count ?? 0) + 1)}` });
    const card = h("div.tml-card", { role: "group", "aria-labelledby": title.id }, title, h("div"));
    this.say(first.alt); // a change is not told: there may be five a second
    card.show = (item) => {
      if (card.item === item) return;
      card.item = item;
      card.dataset.kind = item.kind;
      card.tick = null;
      title.textContent = item.title || item.id;
      const focused = [...card.querySelectorAll("input")].indexOf(document.activeElement);
      card.lastChild.replaceWith(BODIES[item.kind](item, this.engine, card));
      card.querySelectorAll("input")[focused]?.focus();
    };
    return card;
  }
}

const BODIES = {
  chart: (item) => drawChart(item),

  table: ({ columns, rows, alt }) =>
    h(
      "table",
      {},
      h("caption.tml-hidden", {}, alt),
      h("thead", {}, h("tr", {}, ...columns.map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, ...rows.map((row) => h("tr", {}, ...row.map((cell) => h("td", {}, cell))))),
    ),

  timer: ({ seconds, started }, _, card) => {
    const time = h("span.tml-time", { role: "timer" });
    const bar = h("span.tml-fill");
    card.tick = (turn) => {
      const left = Math.max(0, seconds - (turn - (started ?? turn)) * TURN_SECONDS);
      time.textContent = left ? clock(left) : "over";
      bar.style.transform = `scaleX(${(left / seconds).toFixed(4)})`;
    };
    return h("div.tml-timer", {}, time, h("span.tml-meter", { "aria-hidden": "true" }, bar));
  },

  checklist: ({ id, entries }, engine) =>
    h(
      "ul",
      {},
      ...entries.map(({ text, done }, entry) => {
        const box = h("input", { type: "checkbox", checked: done, onchange: () => engine.tick(id, entry, box.checked) });
        return h("li", {}, h("label", {}, box, h("span", {}, text)));
      }),
    ),
};

// 75.3 -> "1:16": a second is shown until it is over.
function clock(seconds) {
  const whole = Math.ceil(seconds - 1e-6);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

// Make `parent` hold one element for each of `wanted` ([key, value]), keeping those that are there.
function keep(elements, wanted, parent, make) {
  const keys = new Set(wanted.map(([key]) => key));
  for (const [key, element] of elements) {
    if (keys.has(key)) continue;
    element.remove();
    elements.delete(key);
  }
  for (const [key, value] of wanted) {
    if (!elements.has(key)) {
      elements.set(key, make(value));
      parent.append(elements.get(key));
    }
    elements.get(key).show(value);
  }
}
