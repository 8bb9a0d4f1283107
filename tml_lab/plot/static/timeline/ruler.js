// The axis: seconds above, the numbers of the turns on each clock, and an overview of the whole.

import { clock } from "./axis.js";
import { FONT } from "./paint.js";

const STEPS = [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800];

export function ruler(brush, { axis, width, height, soft, line, size }) {
  const step = STEPS.find((s) => s * axis.perSecond >= 64 * size) ?? 3600;
  brush.font = `${11 * size}px ${FONT}`;
  brush.textBaseline = "middle";
  const digits = step < 0.1 ? 2 : step < 1 ? 1 : 0;
  for (let n = Math.floor(axis.from / step); n * step <= axis.to; n++) {
    const x = axis.x(n * step);
    brush.fillStyle = line;
    brush.fillRect(x, height - 6, 1, 6);
    brush.fillStyle = soft;
    const label = clock(n * step, digits);
    if (x + brush.measureText(label).width < width) brush.fillText(label, x + 3, height / 2);
  }
}

// Numbers of turns, where each heard (late 0) or is played (late 1).
export function turnNumbers(brush, { axis, height, soft, line, size }, late, turns, turnSeconds) {
  const every = [1, 5, 25, 50].find((n) => n * turnSeconds * axis.perSecond >= 30 * size);
  if (!every) return;
  brush.font = `${10 * size}px ${FONT}`;
  brush.textBaseline = "middle";
  const first = Math.max(0, Math.floor(axis.from / turnSeconds / every - 1) * every);
  for (let turn = first; turn < turns && (turn + late) * turnSeconds < axis.to; turn += every) {
    const x = axis.x((turn + late) * turnSeconds);
    brush.fillStyle = line;
    brush.fillRect(x, 2, 1, height - 4);
    brush.fillStyle = soft;
    brush.fillText(turn, x + 3, height / 2 + 0.5);
  }
}

export function overview(brush, { axis, width, height, colour, ink, line, band }, wave, said, t) {
  const x = (at) => (at / axis.seconds) * width;
  brush.fillStyle = band;
  brush.fillRect(0, 0, width, height);
  const last = wave ? wave.tiles.seconds.length - 1 : 0;
  const tile = wave?.tiles.get(last, 0);
  if (tile) {
    brush.fillStyle = colour(wave.colour);
    brush.globalAlpha = 0.7;
    const step = wave.tiles.seconds[last];
    for (let c = 0; c < tile.values.length / 2; c++) {
      const tall = (tile.values[2 * c + 1] / (32767 * wave.data.peak)) * (height / 2 - 2);
      if (tall > 0.2) brush.fillRect(x(c * step), height / 2 - tall, Math.max(1, x(step)), 2 * tall);
    }
    brush.globalAlpha = 1;
  }
  if (said) {
    brush.fillStyle = colour(said.colour);
    let drawn = -2;
    for (const [start, end] of said.data.words) {
      const [left, right] = [Math.floor(x(start)), Math.max(x(end), x(start) + 1.5)];
      if (left > drawn) brush.fillRect(left, height - 4, right - left, 4);
      drawn = left;
    }
  }
  const [a, b] = [x(axis.from), x(axis.to)];
  brush.fillStyle = line;
  brush.globalAlpha = 0.6;
  brush.fillRect(0, 0, a, height);
  brush.fillRect(b, 0, width - b, height);
  brush.globalAlpha = 1;
  brush.strokeStyle = ink;
  brush.lineWidth = 1.5;
  brush.strokeRect(a + 0.75, 0.75, Math.max(3, b - a - 1.5), height - 1.5);
  brush.lineWidth = 1;
  if (t === null) return;
  brush.fillStyle = ink;
  brush.fillRect(x(t) - 0.5, 0, 1, height);
}
