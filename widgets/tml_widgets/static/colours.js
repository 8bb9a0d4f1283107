// Colours that stay apart for colour-blind eyes (after Okabe and Ito), for light and for dark pages. Each stream has
// the hue it has in `tml_lab.plot.timeline`, darkened or lightened until its name can be read in it.

const LIGHT = {
  heard: "#0072B2",
  seen: "#007A5A",
  typed: "#A03C80",
  "own voice": "#8A6400",
  speak: "#C24400",
  ink: "#1c1f24",
  soft: "#5b6470",
  line: "#d9dde3",
  paper: "#ffffff",
  band: "#f5f7f9",
};
const DARK = {
  heard: "#56B4E9",
  seen: "#3CC9A0",
  typed: "#E58CC3",
  "own voice": "#E3B341",
  speak: "#FF8A50",
  ink: "#eef1f4",
  soft: "#a9b3be",
  line: "#3b424b",
  paper: "#15181c",
  band: "#1d2126",
};

// Whether the page around `element` is dark: by its first opaque background, so that any theme works.
export function isDark(element) {
  for (let node = element.parentElement ?? element; node; node = node.parentElement) {
    const match = getComputedStyle(node).backgroundColor.match(/[\d.]+/g);
    if (match && (match.length < 4 || Number(match[3]) > 0.5)) {
      const [r, g, b] = match.map(Number);
      return 0.299 * r + 0.587 * g + 0.114 * b < 128;
    }
  }
  return window.matchMedia("(prefers-color-scheme: dark)").matches;
}

export const palette = (dark) => (dark ? DARK : LIGHT);
