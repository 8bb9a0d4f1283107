// Lanes that go by turns or words: tiers, bars, shares on one another, lines, heat maps.

import { clamp, firstFrom } from "./axis.js";
import { ramp, rgb } from "./paint_tiles.js";

export const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
const DASHES = { solid: [], dash: [6, 3], dot: [2, 3], dashdot: [9, 3, 2, 3] };
const MISSING = 255; // of a heat map: no number

export function tier({ brush, lane, axis, width, height, colour, ink, size }) {
  const { words, colours } = lane.data;
  brush.font = `${13 * size}px ${FONT}`;
  brush.textBaseline = "middle";
  let drawn = -10; // where the last box begins
  let free = -10; // where the last label ends
  for (let n = Math.max(0, firstFrom(words, axis.from) - 3); n < words.length; n++) {
    const [start, end, text] = words[n];
    const left = axis.x(start);
    if (left > width) break;
    const right = Math.max(axis.x(end), left + 2);
    const next = n + 1 < words.length ? axis.x(words[n + 1][0]) : Infinity;
    if (right < 0 && !(start === end && next > 0)) continue;
    if (right - drawn < 1) continue; // less than a pixel after the last one
    drawn = right;
    brush.fillStyle = colour(colours?.[text] ?? lane.colour);
    brush.globalAlpha = 0.22;
    if (end > start) brush.fillRect(left, 3, right - left, height - 6);
    brush.globalAlpha = 1;
    brush.fillRect(left, 3, 2, height - 6);
    const at = Math.max(left, 0) + 5;
    const room = Math.min(colours ? right : Math.max(right, Math.min(next, left + 400)), width) - at - 2;
    if (room < 9 || at < free) continue;
    const shown = fitting(brush, text, room);
    if (!shown) continue;
    brush.fillStyle = ink;
    brush.fillText(shown, at, height / 2 + 1);
    free = at + brush.measureText(shown).width;
  }
}

// As much of a text as there is room for; nothing rather than a lone letter of a longer word.
function fitting(brush, text, room) {
  if (brush.measureText(text).width <= room) return text;
  for (let n = text.length - 1; n >= 2; n--) if (brush.measureText(`${text.slice(0, n)}…`).width <= room) return `${text.slice(0, n)}…`;
  return "";
}

// First and last index of the turns in sight, by where they begin.
function inSight(x, axis, width) {
  const first = Math.max(0, firstFrom(x, axis.from - width, (start) => start));
  return [first, Math.min(x.length, firstFrom(x, axis.to, (start) => start))];
}

export function bars({ brush, lane, axis, height, colour, soft }) {
  const { width, palette, range, label } = lane.data;
  const { x, values, codes } = lane.arrays;
  const [low, high] = range;
  const y = (value) => (height - 2) * (1 - (clamp(value, low, high) - low) / (high - low)) + 1;
  const zero = y(clamp(0, low, high));
  const shown = palette.map(colour);
  const pixels = width * axis.perSecond;
  const [first, end] = inSight(x, axis, width);
  for (let n = first; n < end; n++) {
    let best = n;
    const left = axis.x(x[n]);
    // Of several turns on one pixel the greatest is drawn.
    while (n + 1 < end && axis.x(x[n + 1]) < Math.floor(left) + 1) {
      n += 1;
      if (Math.abs(values[n]) > Math.abs(values[best])) best = n;
    }
    if (!Number.isFinite(values[best])) continue;
    brush.fillStyle = shown[codes[best]];
    const top = y(values[best]);
    brush.fillRect(left, Math.min(top, zero - 1), Math.max(1, pixels - (pixels > 6 ? 1 : 0)), Math.max(1, Math.abs(zero - top)));
  }
  if (label === "p(speak)") dashed(brush, axis.width, y(0.5), soft);
}

function dashed(brush, width, y, colour) {
  brush.strokeStyle = colour;
  brush.setLineDash([4, 4]);
  brush.beginPath();
  brush.moveTo(0, y);
  brush.lineTo(width, y);
  brush.stroke();
  brush.setLineDash([]);
}

export function stack({ brush, lane, axis, height, colour }) {
  const { width, colours } = lane.data;
  const { x, values } = lane.arrays;
  const parts = colours.length;
  const shown = colours.map(colour);
  const [first, end] = inSight(x, axis, width);
  brush.globalAlpha = 0.8;
  for (let n = first; n < end; n++) {
    const left = axis.x(x[n]);
    const sums = Array.from({ length: parts }, (_, s) => values[n * parts + s]);
    let turns = 1;
    while (n + 1 < end && axis.x(x[n + 1]) < Math.floor(left) + 1) {
      n += 1;
      turns += 1;
      for (let s = 0; s < parts; s++) sums[s] += values[n * parts + s];
    }
    let bottom = height;
    sums.forEach((sum, s) => {
      const part = (sum / turns) * height;
      brush.fillStyle = shown[s];
      brush.fillRect(left, bottom - part, Math.max(1, width * axis.perSecond + 0.3), part);
      bottom -= part;
    });
  }
  brush.globalAlpha = 1;
}

export function lines({ brush, lane, axis, height, width, colour, line }) {
  const { series, range } = lane.data;
  const [low, high] = range;
  const y = (value) => (height - 4) * (1 - (value - low) / (high - low)) + 2;
  if (low < 0 && high > 0) {
    brush.fillStyle = line;
    brush.fillRect(0, y(0), width, 1);
  }
  brush.lineWidth = 1.8;
  series.forEach(({ colour: hex, dash, step, filled }, n) => {
    const [xs, ys] = [lane.arrays[`x${n}`], lane.arrays[`y${n}`]];
    brush.strokeStyle = brush.fillStyle = colour(hex);
    brush.setLineDash(DASHES[dash] ?? []);
    brush.beginPath();
    trace(brush, xs, ys, axis, y, step, filled);
    if (filled) brush.fill();
    else brush.stroke();
  });
  brush.setLineDash([]);
  brush.lineWidth = 1;
}

function trace(brush, xs, ys, axis, y, step, whole) {
  const sorted = !whole; // an outline runs there and back
  const first = sorted ? Math.max(0, firstFrom(xs, axis.from, (t) => t) - 2) : 0;
  const end = sorted ? Math.min(xs.length, firstFrom(xs, axis.to, (t) => t) + 2) : xs.length;
  const skip = Math.max(1, Math.floor((end - first) / (4 * axis.width))); // a line has no more points than pixels
  let open = false;
  for (let n = first; n < end; n += skip) {
    if (!Number.isFinite(ys[n])) {
      open = false;
      continue;
    }
    const at = axis.x(xs[n]);
    if (open && step) {
      const half = axis.x((xs[Math.max(0, n - skip)] + xs[n]) / 2);
      brush.lineTo(half, y(ys[Math.max(0, n - skip)]));
      brush.lineTo(half, y(ys[n]));
    }
    if (open) brush.lineTo(at, y(ys[n]));
    else brush.moveTo(at, y(ys[n]));
    open = true;
  }
}

const WIDE = 4096; // columns of one canvas: browsers make none of any width

export function grid({ brush, lane, axis, height, colour, theme, size, ink, paper }) {
  const { labels, scale, turns, start, width } = lane.data;
  if (lane.sheetsFor !== theme) {
    const colours = ramp(scale.map(([at, hex]) => [at, rgb(colour(hex))]));
    lane.sheets = Array.from({ length: Math.ceil(turns / WIDE) }, (_, n) => sheet(lane, n * WIDE, colours));
    lane.sheetsFor = theme;
  }
  brush.imageSmoothingEnabled = width * axis.perSecond < 1;
  lane.sheets.forEach((canvas, n) => {
    const left = axis.x(start + n * WIDE * width);
    brush.drawImage(canvas, left, 0, canvas.width * width * axis.perSecond, height);
  });
  const row = height / labels.length;
  if (row < 9) return;
  brush.font = `${Math.min(11 * size, row - 1)}px ${FONT}`;
  brush.textBaseline = "middle";
  labels.forEach((label, n) => {
    const wide = brush.measureText(label).width;
    brush.fillStyle = paper;
    brush.globalAlpha = 0.75;
    brush.fillRect(2, n * row + row / 2 - 6 * size, wide + 6, 12 * size);
    brush.globalAlpha = 1;
    brush.fillStyle = ink;
    brush.fillText(label, 5, n * row + row / 2 + 0.5);
  });
}

function sheet({ arrays, data }, first, colours) {
  const columns = Math.min(WIDE, data.turns - first);
  const rows = data.labels.length;
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [columns, rows];
  const brush = canvas.getContext("2d");
  const cells = brush.createImageData(columns, rows);
  const pixels = new Uint32Array(cells.data.buffer);
  for (let row = 0; row < rows; row++) {
    const from = row * data.turns + first;
    for (let column = 0; column < columns; column++) {
      const value = arrays.cells[from + column];
      if (value !== MISSING) pixels[row * columns + column] = colours[value]; // else transparent
    }
  }
  brush.putImageData(cells, 0, 0);
  return canvas;
}

// What a lane says at a second, in a few words; `part` 0..1 is how far down one looks.
export function valueAt(lane, t, part = 0) {
  const { data, arrays } = lane;
  const turn = () => {
    const n = firstFrom(arrays.x, t + 1e-6, (start) => start) - 1;
    return n >= 0 && t < arrays.x[n] + data.width + 1e-6 ? n : -1;
  };
  const number = (value) => (Number.isFinite(value) ? String(+(Math.abs(value) < 1 ? value.toFixed(3) : value.toPrecision(4))) : "");
  if (lane.kind === "bars") return turn() < 0 ? "" : number(arrays.values[turn()]);
  if (lane.kind === "stack") {
    const [n, many] = [turn(), data.names.length];
    if (n < 0) return "";
    const shares = data.names.map((name, s) => [arrays.values[n * many + s], name]).sort((a, b) => b[0] - a[0]);
    return shares.slice(0, 2).filter(([share], n) => !n || share >= 0.05).map(([share, name]) => `${name} ${Math.round(100 * share)} %`).join(", ");
  }
  if (lane.kind === "lines") {
    const found = data.series.map(({ name, filled }, n) => {
      const at = Math.min(arrays[`x${n}`].length - 1, firstFrom(arrays[`x${n}`], t, (start) => start));
      return filled ? "" : `${data.series.length > 1 ? `${name} ` : ""}${number(arrays[`y${n}`][at])}`;
    });
    return found.filter(Boolean).join(", ");
  }
  if (lane.kind === "grid") {
    const column = Math.floor((t - data.start) / data.width + 1e-6);
    if (column < 0 || column >= data.turns) return "";
    const row = clamp(Math.floor(part * data.labels.length), 0, data.labels.length - 1);
    return `${data.labels[row]} ${number(arrays.values[row * data.turns + column])}`;
  }
  return "";
}
