// Colours of everything that is no stream's, light and dark; streams' colours come from Python's palette.

const LIGHT = {
  paper: "#ffffff", band: "#f5f7f9", ink: "#1c1f24", soft: "#5b6470", line: "#d9dde3",
  mark: "#b38600", select: "#0072b2", cursor: "#1c1f24",
};
const DARK = {
  paper: "#15181c", band: "#1d2126", ink: "#eef1f4", soft: "#a9b3be", line: "#3b424b",
  mark: "#ffd75e", select: "#56b4e9", cursor: "#ffffff",
};
const LARGE = 1.45; // projector size

// Whether the page around an element is dark: by its first opaque background, so that any theme works.
function darkAround(element) {
  for (let node = element.parentElement; node; node = node.parentElement) {
    const parts = getComputedStyle(node).backgroundColor.match(/[\d.]+/g)?.map(Number);
    if (parts && (parts.length < 4 || parts[3] > 0.5)) return 0.3 * parts[0] + 0.6 * parts[1] + 0.1 * parts[2] < 128;
  }
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

// theme: auto, light or dark; size: normal or projector; onDark: each colour of the palette, and what it is on dark.
export function lookOf(element, theme, size, onDark) {
  const dark = theme === "dark" || (theme === "auto" && darkAround(element));
  const colour = (hex) => (dark ? (onDark[hex] ?? hex) : hex);
  return { ...(dark ? DARK : LIGHT), colour, theme: dark ? "dark" : "light", size: size === "projector" ? LARGE : 1 };
}

// Calls act() when the page may have turned dark or light; returns how to stop that.
export function watchPage(act) {
  const themed = new MutationObserver(act);
  themed.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-theme", "class"] });
  const media = matchMedia("(prefers-color-scheme: dark)");
  media.addEventListener("change", act);
  return () => {
    themed.disconnect();
    media.removeEventListener("change", act);
  };
}
