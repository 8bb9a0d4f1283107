// Lanes that are drawn from tiles: waveforms, images of sound, pictures, and where a head looked back to.

import { clamp } from "./axis.js";

const GAIN = 0.92; // of the half height that the loudest sample takes

export function wave({ brush, lane, axis, width, height, colour, line, ink }) {
  const low = new Float32Array(width).fill(Infinity);
  const high = new Float32Array(width).fill(-Infinity);
  const { tiles } = lane;
  tiles.each(tiles.level(axis.perSecond), axis.from, axis.to, ({ values }, step, begin, from, to) => {
    const last = Math.min(values.length / 2, Math.ceil((to - begin) / step));
    for (let c = Math.max(0, Math.floor((from - begin) / step)); c < last; c++) {
      const left = axis.x(begin + c * step);
      const end = Math.min(width, Math.max(Math.floor(left) + 1, Math.ceil(left + step * axis.perSecond)));
      for (let px = Math.max(0, Math.floor(left)); px < end; px++) {
        low[px] = Math.min(low[px], values[2 * c]);
        high[px] = Math.max(high[px], values[2 * c + 1]);
      }
    }
  });
  const middle = height / 2;
  const scale = ((middle - 1) * GAIN) / (32767 * lane.data.peak);
  brush.fillStyle = line;
  brush.fillRect(0, middle, width, 1);
  brush.fillStyle = colour(lane.colour);
  for (let px = 0; px < width; px++) {
    if (high[px] < low[px]) continue;
    const top = Math.min(high[px] * scale, middle);
    brush.fillRect(px, middle - top, 1, Math.max(1, top - Math.max(low[px] * scale, -middle)));
  }
  for (const [name, spans] of Object.entries(lane.data.missing ?? {})) hatch(brush, spans, axis, height, ink, name === "skipped");
}

// Nothing was heard here: hatched, which no colour of a stream is; `crossed`, on grey: nothing was computed either.
function hatch(brush, spans, axis, height, colour, crossed) {
  for (const [start, end] of spans) {
    if (end < axis.from || start > axis.to) continue;
    const [left, right] = [Math.max(0, axis.x(start)), Math.min(axis.width, axis.x(end))];
    brush.save();
    brush.beginPath();
    brush.rect(left, 0, Math.max(2, right - left), height);
    brush.clip();
    brush.strokeStyle = brush.fillStyle = colour;
    brush.globalAlpha = 0.18;
    if (crossed) brush.fillRect(left, 0, Math.max(2, right - left), height);
    brush.globalAlpha = 0.45;
    brush.beginPath();
    for (let px = left - height; px < right; px += 6) {
      brush.moveTo(px, height);
      brush.lineTo(px + height, 0);
      if (!crossed) continue;
      brush.moveTo(px, 0);
      brush.lineTo(px + height, height);
    }
    brush.stroke();
    brush.restore();
  }
}

// 0..255 in `stops` [[0..1, [r, g, b]], ...]: 256 pixels, as a canvas holds them.
export function ramp(stops) {
  return Uint32Array.from({ length: 256 }, (_, value) => {
    const at = value / 255;
    let next = stops.findIndex(([position]) => position >= at);
    if (next < 0) next = stops.length - 1;
    const [p1, b] = stops[next];
    const [p0, a] = stops[Math.max(0, next - 1)];
    const part = p1 > p0 ? clamp((at - p0) / (p1 - p0), 0, 1) : 1;
    const [red, green, blue] = a.map((channel, i) => Math.round(channel + (b[i] - channel) * part));
    return (255 << 24) | (blue << 16) | (green << 8) | red;
  });
}

export const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

export function image({ brush, lane, axis, height, colour, paper, ink, theme, ratio }) {
  const { tiles } = lane;
  const [low, high] = lane.data.ends ?? [0, 1];
  const scale = () => ramp([[0, rgb(paper)], [low, rgb(paper)], [low + (high - low) * 0.6, rgb(colour(lane.colour))], [high, rgb(ink)]]);
  if (lane.rampFor !== theme) [lane.ramp, lane.rampFor] = [scale(), theme];
  brush.imageSmoothingEnabled = Boolean(lane.data.smooth);
  const onPixel = (x) => Math.round(x * ratio) / ratio;
  tiles.each(tiles.level(axis.perSecond, 1.5), axis.from, axis.to, (tile, step, begin, from, to) => {
    if (tile.paintedFor !== theme) {
      tile.canvas = painted(tile, lane.ramp);
      tile.paintedFor = theme;
    }
    const first = Math.floor((from - begin) / step + 1e-6);
    const end = Math.min(tile.columns, Math.ceil((to - begin) / step - 1e-6));
    if (end <= first) return;
    const [left, right] = [onPixel(axis.x(begin + first * step)), onPixel(axis.x(begin + end * step))];
    brush.drawImage(tile.canvas, first, 0, end - first, tile.rows, left, 0, right - left, height);
  });
}

// Row 0 is the lowest frequency, and stands at the bottom.
function painted({ values, columns, rows }, colours) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [columns, rows];
  const brush = canvas.getContext("2d");
  const cells = brush.createImageData(columns, rows);
  const pixels = new Uint32Array(cells.data.buffer);
  for (let row = 0; row < rows; row++) {
    const at = (rows - 1 - row) * columns;
    for (let column = 0; column < columns; column++) pixels[at + column] = colours[values[row * columns + column]];
  }
  brush.putImageData(cells, 0, 0);
  return canvas;
}

export function pictures({ brush, lane, axis, height }) {
  const { tiles } = lane;
  let level = tiles.finest;
  const wide = (height * 4) / 3;
  while (level + 1 < tiles.seconds.length && tiles.seconds[level] * axis.perSecond < wide) level += 1;
  tiles.each(level, axis.from - tiles.seconds[level], axis.to, ({ there, picture }, step, begin, from, to) => {
    if (!picture) return;
    const size = picture.width / there.length;
    there.forEach((isThere, n) => {
      const at = begin + n * step;
      if (!isThere || at > to || at + step < from) return;
      const room = Math.min(1, (step * axis.perSecond) / wide); // of the picture
      brush.drawImage(picture, n * size, 0, size * room, picture.height, axis.x(at), 0, wide * room - 1, height);
    });
  });
}

// The weight on each stream of each earlier turn, at that turn's place; for the cursor's turn.
export function back({ brush, lane, axis, height, colour, turn, turnSeconds }) {
  const { streams, colours, later, lags } = lane.data;
  const { tiles } = lane;
  const tile = turn === null ? null : tiles.get(0, Math.floor(turn / tiles.columns));
  if (!tile) return;
  const at = (turn % tiles.columns) * streams.length * lags;
  const weights = tile.values.subarray(at, at + streams.length * lags);
  const most = Math.max(1, ...weights);
  const row = height / streams.length;
  streams.forEach((_, s) => {
    brush.fillStyle = colour(colours[s]);
    for (let lag = 0; lag < lags && lag <= turn; lag++) {
      const weight = weights[s * lags + lag];
      if (!weight) continue;
      brush.globalAlpha = 0.12 + 0.88 * (weight / most);
      const left = axis.x((turn - lag + (later[s] ? 1 : 0)) * turnSeconds);
      brush.fillRect(left, s * row + 1, Math.max(1, turnSeconds * axis.perSecond - 0.5), row - 2);
    }
  });
  brush.globalAlpha = 1;
}
