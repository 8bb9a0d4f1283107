// A chart as SVG: bars or a line over labels. Colours come from the widget's CSS, so light and dark need nothing here.

const [WIDTH, HEIGHT] = [320, 170];
const BOX = { left: 44, right: 6, top: 22, bottom: 24 };
const MAX_NOTES = 10; // more values than this are read off the axis

export function drawChart({ labels, values, unit, shape, alt }) {
  const svg = element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": alt, class: "tml-chart" });
  if (!values.length) return svg;
  const [low, high] = [Math.min(0, ...values), Math.max(0, ...values)];
  const step = niceStep((high - low || 1) / 3);
  const [bottom, top] = [Math.floor(low / step) * step, Math.ceil(high / step) * step || step];
  const y = (value) => BOX.top + ((top - value) / (top - bottom)) * (HEIGHT - BOX.top - BOX.bottom);
  const slot = (WIDTH - BOX.left - BOX.right) / values.length;
  const middle = (i) => BOX.left + slot * (i + 0.5);
  for (let tick = bottom; tick <= top + step / 2; tick += step) {
    svg.append(element("line", { x1: BOX.left, x2: WIDTH - BOX.right, y1: y(tick), y2: y(tick), class: "tml-grid" }));
    svg.append(words(short(tick), BOX.left - 5, y(tick) + 4, "end"));
  }
  if (unit) svg.append(words(unit, 2, 10, "start"));
  if (shape === "line") {
    const points = values.map((value, i) => `${middle(i)},${y(value)}`).join(" ");
    svg.append(element("polyline", { points, class: "tml-line" }));
  }
  values.forEach((value, i) => {
    const at = middle(i);
    if (shape === "line") svg.append(element("circle", { cx: at, cy: y(value), r: 3, class: "tml-mark" }));
    else {
      const [from, to] = [y(Math.max(0, value)), y(Math.min(0, value))];
      const bar = { x: at - slot * 0.36, width: slot * 0.72, y: from, height: Math.max(0.5, to - from), rx: 2 };
      svg.append(element("rect", { ...bar, class: "tml-mark" }));
    }
    if (values.length <= MAX_NOTES) svg.append(words(short(value), at, y(Math.max(0, value)) - 4, "middle", "tml-note"));
  });
  labelled(labels, slot).forEach(([i, text]) => svg.append(words(text, middle(i), HEIGHT - 8, "middle")));
  return svg;
}

// As many labels as there is room for, each cut to its room.
function labelled(labels, slot) {
  const every = Math.max(1, Math.ceil(34 / slot));
  const letters = Math.floor((slot * every) / 6);
  return labels
    .map((label, i) => [i, label.length > letters ? `${label.slice(0, letters - 1)}…` : label])
    .filter(([i]) => i % every === 0);
}

// 1, 2 or 5 times a power of ten, at least `rough`.
function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
}

const short = (value) =>
  new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 4 }).format(value);

function words(text, x, y, anchor, kind = "tml-word") {
  const node = element("text", { x, y, "text-anchor": anchor, class: kind });
  node.textContent = text;
  return node;
}

function element(name, attributes) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}
