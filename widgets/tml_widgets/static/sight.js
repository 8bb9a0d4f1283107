// What the model sees, and where in the picture its last decision looked: the watched head's attention by patch.

import { isDark, palette } from "./colours.js";
import { h } from "./dom.js";

const [WIDTH, HEIGHT] = [480, 360];

export class Sight {
  constructor(engine) {
    this.engine = engine;
    this.canvas = h("canvas", { width: WIDTH, height: HEIGHT, role: "img", "aria-label": "No camera picture" });
    this.note = h("p.tml-small");
    this.root = h("figure.tml-sight", { hidden: true }, this.canvas, this.note);
  }

  // `turn`: the one that is looked at; older ones have a thumbnail at best. Once shown it stays, so that nothing jumps.
  draw(turn) {
    const { seen } = this.engine;
    if (seen) this.root.hidden = false;
    if (this.root.hidden) return;
    const brush = this.canvas.getContext("2d");
    const picture = seen && (turn?.turn === seen.turn ? seen.picture : turn?.picture ?? seen.picture);
    brush.clearRect(0, 0, WIDTH, HEIGHT);
    if (picture) brush.drawImage(picture, 0, 0, WIDTH, HEIGHT);
    if (picture && turn?.patches) this.drawPatches(brush, turn.patches);
    const words = picture ? describe(turn?.patches) : "No camera picture.";
    this.canvas.setAttribute("aria-label", words || "What the camera sees");
    this.note.textContent = words;
  }

  // Each patch's share of the picture's attention: the less, the darker it is veiled; the most has a frame.
  drawPatches(brush, { weights, grid: [rows, columns] }) {
    const colour = palette(isDark(this.root));
    const [width, height] = [WIDTH / columns, HEIGHT / rows];
    const most = Math.max(...weights);
    const total = weights.reduce((sum, weight) => sum + weight, 0) || 1;
    brush.textAlign = "center";
    brush.textBaseline = "middle";
    weights.forEach((weight, i) => {
      const [x, y] = [(i % columns) * width, Math.floor(i / columns) * height];
      brush.globalAlpha = 0.55 * (1 - Math.sqrt(weight / (most || 1)));
      brush.fillStyle = "#000";
      brush.fillRect(x, y, width, height);
      brush.globalAlpha = 1;
      if (weight < most / 2) return;
      brush.lineWidth = weight === most ? 6 : 3;
      brush.strokeStyle = "#000";
      brush.strokeRect(x + 4, y + 4, width - 8, height - 8);
      brush.lineWidth -= 2;
      brush.strokeStyle = colour.seen === "#007A5A" ? "#3CC9A0" : colour.seen;
      brush.strokeRect(x + 4, y + 4, width - 8, height - 8);
      brush.font = "700 26px system-ui, sans-serif";
      brush.strokeStyle = "#000";
      brush.lineWidth = 5;
      const percent = `${Math.round((100 * weight) / total)} %`;
      brush.strokeText(percent, x + width / 2, y + height / 2);
      brush.fillStyle = "#fff";
      brush.fillText(percent, x + width / 2, y + height / 2);
    });
  }
}

const NAMES = { 3: ["top", "middle", "bottom"], 4: ["left", "centre left", "centre right", "right"] };

function describe(patches) {
  if (!patches) return ""; // no head is watched, or an older picture is shown
  const { weights, grid } = patches;
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const best = weights.indexOf(Math.max(...weights));
  const [row, column] = [Math.floor(best / grid[1]), best % grid[1]];
  const where = `${NAMES[grid[0]]?.[row] ?? `row ${row + 1}`} ${NAMES[grid[1]]?.[column] ?? `column ${column + 1}`}`;
  const share = (100 * total).toFixed(total < 0.1 ? 1 : 0);
  return `This head gives the picture ${share} % of its attention, most of it to the ${where} (in %: of the picture's part).`;
}
