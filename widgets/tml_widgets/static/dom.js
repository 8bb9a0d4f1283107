// A few lines instead of a framework: elements from names, properties and children.

export function h(name, properties = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag || "div");
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key.includes("-") || key === "role" || key === "for") element.setAttribute(key, value);
    else element[key] = value;
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

// An icon as SVG path data in a 20x20 box; decorative, so hidden from screen readers.
export function icon(path) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("aria-hidden", "true");
  const shape = document.createElementNS("http://www.w3.org/2000/svg", "path");
  shape.setAttribute("d", path);
  svg.append(shape);
  return svg;
}

export const ICONS = {
  mic: "M10 2a3 3 0 0 1 3 3v5a3 3 0 0 1-6 0V5a3 3 0 0 1 3-3zM4 9h2v1a4 4 0 0 0 8 0V9h2v1a6 6 0 0 1-5 5.9V18H9v-2.1A6 6 0 0 1 4 10z",
  pause: "M5 4h4v12H5zM11 4h4v12h-4z",
  stop: "M5 5h10v10H5z",
  camera: "M2 6h10a1 1 0 0 1 1 1v1.5l4-2.5v8l-4-2.5V13a1 1 0 0 1-1 1H2a1 1 0 0 1-1-1V7a1 1 0 0 1 1-1z",
  muted: "M3 2l15 15-1.4 1.4-3.9-3.9A6 6 0 0 1 11 15.900V18H9v-2.100A6 6 0 0 1 4 10V9h2v1a4 4 0 0 0 5.200 3.800l-1-1A3 3 0 0 1 7 10V8.800L1.600 3.400zM13 5v4L7.400 3.500A3 3 0 0 1 13 5zM16 9v1q0 1-.3 1.800L14 10.200V9z",
  save: "M9 2h2v8h3l-4 4.500L6 10h3zM3 16h14v2H3z",
  play: "M6 4l10 6-10 6z",
  why: "M10 2a5 5 0 0 1 2.500 9.300V14h-5v-2.700A5 5 0 0 1 10 2zM7.500 15h5v1.500h-5zM8.500 17.500h3V19h-3z",
  fork: "M4 3h2v5q0 2 2 2h4q4 0 4-4V5h-2l3-4 3 4h-2v1q0 6-6 6H8q-2 0-2 2v3H4z",
  flag: "M4 2h2v1h10l-3 4 3 4H6v7H4z",
  words: "M2 4h16v10H9l-4 4v-4H2zM5 7v2h10V7zM5 10v2h7v-2z",
  back: "M9 4L3 10l6 6v-4h8V8H9z",
  half: "M10 2a8 8 0 0 1 0 16zM10 2v2a6 6 0 0 0 0 12v2a8 8 0 0 1 0-16z",
  full: "M2 2h6v2H4v4H2zM12 2h6v6h-2V4h-4zM2 12h2v4h4v2H2zM16 12h2v6h-6v-2h4z",
  send: "M2 3l16 7-16 7 3-7zM6 10h6",
};
