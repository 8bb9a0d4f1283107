// The figure of "why now": under the strip's time, one bar for each thing that was taken away.

import { isDark, palette } from "./colours.js";
import { heardStart } from "./history.js";

export function drawWithout(strip, track, y) {
  const { brush } = strip;
  const colours = palette(isDark(strip.canvas));
  const { tried, p } = strip.without;
  const inside = tried.filter((part) => heardStart(part.to) > strip.lastSecond - strip.seconds);
  const rows = ["heard", "typed", "seen"].filter((stream) => inside.some((part) => part.stream === stream));
  const height = track.height / Math.max(1, rows.length);
  for (const part of inside) {
    const top = y + rows.indexOf(part.stream) * height;
    const [left, right] = [strip.x(heardStart(part.from)), strip.x(heardStart(part.to))];
    const full = (height - 6) * part.p;
    brush.fillStyle = colours[part.stream];
    brush.globalAlpha = part.flips ? 1 : 0.35;
    brush.fillRect(left + 1, top + 3 + (height - 6) - Math.max(1.5, full), Math.max(2, right - left - 2), Math.max(1.5, full));
    brush.globalAlpha = 1;
    if (!part.flips) continue;
    brush.strokeStyle = colours.ink; // not by colour alone
    brush.lineWidth = 2;
    brush.strokeRect(left + 1, top + 3, Math.max(2, right - left - 2), height - 6);
  }
  brush.strokeStyle = colours.ink;
  brush.setLineDash([4, 3]);
  brush.lineWidth = 1;
  rows.forEach((_, row) => {
    const level = y + row * height + 3 + (height - 6) * (1 - p);
    brush.beginPath();
    brush.moveTo(0, level);
    brush.lineTo(strip.width, level);
    brush.stroke();
  });
  brush.setLineDash([]);
}
