// What surrounds the rows: buttons, menus, the keys, captions. Plain HTML, wired by name.

const KEYS = [
  ["Space", "play, pause; with a selection: that"], ["← →", "a turn back, forth"], ["Shift + ← →", "select turn by turn"],
  ["n, p", "next, previous word that was said"], ["+, −", "nearer, farther"], ["Enter", "zoom to the selection, else to the turn"],
  ["0", "all of it"], ["Home, End", "begin, end"], ["Page Up, Page Down", "a screen back, forth"], ["l", "loop"],
  ["s", "half speed"], ["c", "captions"], ["Esc", "no selection"], ["?", "these keys"],
];
const POINTER =
  "Click: the cursor. Drag: a selection. Double click: a word, or a turn. Ctrl + wheel: zoom; Shift + wheel: move.";

export function frame(title, facts) {
  const root = document.createElement("section");
  root.className = "tml-timeline";
  root.innerHTML = `
    <header><h2></h2><p class="tml-facts"></p></header>
    <div class="tml-bar" role="toolbar" aria-label="sound and view">
      <button type="button" data-act="play" aria-label="play" title="play or pause (space)">▶</button>
      <button type="button" data-act="loop" aria-pressed="false" title="play the selection again and again (l)">loop</button>
      <button type="button" data-act="slow" aria-pressed="false" title="half speed, same pitch (s)">½ speed</button>
      <label>hear <select data-act="listen" title="which sound is played">
        <option value="both">heard left, own right</option><option value="mixed">mixed</option>
        <option value="heard">heard</option><option value="own">own voice</option></select></label>
      <span class="tml-rule"></span>
      <button type="button" data-act="out" aria-label="farther" title="farther (-)">−</button>
      <button type="button" data-act="in" aria-label="nearer" title="nearer (+)">+</button>
      <button type="button" data-act="near" title="zoom to the selection, else to the turn (Enter)">turn</button>
      <button type="button" data-act="all" title="all of it (0)">all</button>
      <span class="tml-space"></span>
      <details class="tml-menu" data-menu="lanes"><summary>Lanes</summary><div></div></details>
      <details class="tml-menu" data-menu="look"><summary>View</summary><div>
        <label><input type="checkbox" data-act="captions"> captions</label>
        <label><input type="checkbox" data-act="projector"> projector size</label>
        <label>colours <select data-act="theme"><option>auto</option><option>light</option><option>dark</option></select></label>
      </div></details>
      <details class="tml-menu" data-menu="export"><summary>Export</summary><div></div></details>
      <button type="button" data-act="help" aria-label="keys" title="keys (?)">?</button>
    </div>
    <p class="tml-captions" hidden><span data-of="in"></span><span data-of="out"></span></p>
    <div class="tml-stage" tabindex="0" role="slider" data-lm-suppress-shortcuts="true"><div class="tml-top"></div><div class="tml-pins"></div>
      <div class="tml-lanes"></div><canvas class="tml-overlay"></canvas></div>
    <p class="tml-readout" aria-live="polite"></p>
    <p class="tml-status" role="status"></p>
    <details class="tml-words"><summary>The same as a table</summary><div><table></table></div></details>
    <dialog class="tml-keys" aria-label="keys"><table></table><p></p><form method="dialog"><button>close</button></form></dialog>`;
  root.querySelector("h2").textContent = title;
  root.querySelector(".tml-facts").textContent = facts;
  root.querySelector("header").hidden = !title;
  const table = root.querySelector(".tml-keys table");
  for (const [key, does] of KEYS) {
    const line = table.insertRow();
    line.insertCell().textContent = key;
    line.insertCell().textContent = does;
  }
  root.querySelector(".tml-keys p").textContent = POINTER;
  return root;
}

export class Bar {
  constructor(root, acts) {
    this.root = root;
    for (const element of root.querySelectorAll("[data-act]")) {
      const act = acts[element.dataset.act];
      const event = element.tagName === "BUTTON" ? "click" : "change";
      element.addEventListener(event, () => act(element.type === "checkbox" ? element.checked : element.value));
    }
    for (const menu of root.querySelectorAll(".tml-menu")) {
      menu.addEventListener("focusout", ({ relatedTarget }) => {
        if (relatedTarget && !menu.contains(relatedTarget)) menu.open = false;
      });
      menu.addEventListener("keydown", (event) => {
        if (event.key !== "Escape" || !menu.open) return;
        event.stopPropagation();
        menu.open = false;
        menu.querySelector("summary").focus();
      });
    }
  }

  of(name) {
    return this.root.querySelector(`[data-act="${name}"]`);
  }

  press(name, pressed) {
    this.of(name).setAttribute("aria-pressed", String(pressed));
  }

  playing(is) {
    this.of("play").textContent = is ? "❚❚" : "▶";
    this.of("play").setAttribute("aria-label", is ? "pause" : "play");
  }

  // A box to tick for each lane.
  lanes(rows, show) {
    const box = this.root.querySelector('[data-menu="lanes"] div');
    for (const row of rows) {
      const label = document.createElement("label");
      const tick = Object.assign(document.createElement("input"), { type: "checkbox", checked: !row.line.hidden });
      tick.addEventListener("change", () => show(row, tick.checked));
      row.tick = tick;
      label.append(tick, ` ${row.lane.name}`);
      box.append(label);
    }
  }

  exports(kinds, write) {
    const menu = this.root.querySelector('[data-menu="export"]');
    menu.hidden = !kinds.length;
    const box = menu.querySelector("div");
    const label = document.createElement("label");
    const part = Object.assign(document.createElement("input"), { type: "checkbox", disabled: true });
    label.append(part, " the selection only");
    box.append(label);
    this.part = part;
    for (const kind of kinds) {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: kind });
      button.addEventListener("click", () => {
        menu.open = false;
        write(kind, part.checked && !part.disabled);
      });
      box.append(button);
    }
  }

  selected(selection) {
    if (!this.part) return;
    this.part.disabled = !selection;
    this.part.checked = Boolean(selection);
  }
}
