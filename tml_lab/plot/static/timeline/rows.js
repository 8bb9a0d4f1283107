// The rows of a timeline: a label and a canvas each. A row paints itself when what it shows has changed.

import { bars, grid, lines, stack, tier, valueAt } from "./paint.js";
import { back, image, pictures, wave } from "./paint_tiles.js";
import { LaneTiles } from "./tiles.js";

const PAINT = { wave, image, pictures, back, tier, bars, stack, lines, grid };

export function part(tag, name, text = "") {
  const element = document.createElement(tag);
  element.className = name;
  element.textContent = text;
  return element;
}

export class Row {
  constructor({ group, kind, name = "", note = "", height, paint }) {
    Object.assign(this, { group, kind, height, paint, stale: true });
    this.line = part("div", `tml-line tml-${kind}`);
    this.label = part("div", "tml-label");
    this.label.append(part("span", "tml-name", name), part("small", "", note));
    this.canvas = part("canvas", "");
    this.line.append(this.label, this.canvas);
  }

  draw(look) {
    if (!this.stale || this.line.hidden) return;
    this.stale = false;
    const height = Math.round(this.height * (this.kind === "heading" ? 1 : look.size));
    const { width } = look.axis;
    const [pixelWidth, pixelHeight] = [Math.round(width * look.ratio), Math.round(height * look.ratio)];
    if (this.canvas.width !== pixelWidth || this.canvas.height !== pixelHeight) {
      [this.canvas.width, this.canvas.height] = [pixelWidth, pixelHeight];
      Object.assign(this.canvas.style, { width: `${width}px`, height: `${height}px` });
    }
    const brush = this.canvas.getContext("2d");
    brush.setTransform(look.ratio, 0, 0, look.ratio, 0, 0);
    brush.clearRect(0, 0, width, height);
    this.paint(brush, { ...look, width, height });
  }
}

export class LaneRow extends Row {
  constructor(lane, number, queue, changed) {
    super({ group: lane.group, kind: "lane", name: lane.name, note: lane.note, height: lane.height });
    this.lane = lane;
    this.line.dataset.lane = lane.name;
    this.value = part("span", "tml-value");
    this.legend = part("span", "tml-legend");
    this.label.append(this.value, this.legend);
    if (lane.tiles) lane.tiles = new LaneTiles(number, lane.tiles, queue, () => { this.stale = true; changed(); });
    this.paint = (brush, look) => {
      brush.fillStyle = look.band;
      brush.fillRect(0, 0, look.width, look.height);
      PAINT[lane.kind]({ brush, lane, ...look });
    };
    this.line.hidden = !lane.shown;
  }

  // Which colour is what, where a lane has several; and which pattern.
  key(colour) {
    const { names, colours, series } = this.lane.data;
    const list = series?.length > 1 ? series.map((one) => [one.name, one.colour]) : (names ?? []).map((name, n) => [name, colours[n]]);
    this.legend.replaceChildren(...list.map(([name, hex]) => {
      const entry = part("span", "", name);
      entry.style.setProperty("--of", colour(hex));
      return entry;
    }), ...Object.keys(this.lane.data.missing ?? {}).map((name) => part("span", `tml-${name}`, name)));
  }

  tell(t, down = 0) {
    const text = t === null ? "" : valueAt(this.lane, t, down);
    if (this.value.textContent !== text) this.value.textContent = text;
  }

  // Buttons: to keep it in sight above the others, and to take it away.
  buttons(pin, hide) {
    const box = part("span", "tml-buttons");
    const make = (text, name, act) => {
      const button = part("button", "", text);
      Object.assign(button, { title: name, type: "button" });
      button.setAttribute("aria-label", `${name}: ${this.lane.name}`);
      button.addEventListener("click", act);
      box.append(button);
      return button;
    };
    this.pin = make("⤒", "pin on top", pin);
    this.pin.setAttribute("aria-pressed", "false");
    make("×", "hide", hide);
    this.label.append(box);
  }
}
