// Pointer and keyboard. A short press sets the cursor, a longer way selects.

import { clamp, firstFrom } from "./axis.js";

const STILL = 4; // pixels that a hand shakes

export function listen(timeline) {
  const { stage, axis } = timeline;
  let drag = null;
  const place = (event) => event.clientX - stage.getBoundingClientRect().left - timeline.gutter;
  const time = (event) => clamp(axis.t(place(event)), 0, axis.seconds);
  // While the pointer is captured, events name the stage and not what lies under them.
  const rowAt = ({ clientX, clientY }) => timeline.rowOf(document.elementFromPoint(clientX, clientY));

  stage.addEventListener("pointerdown", (event) => {
    if (event.button || event.target.closest("button") || place(event) < 0) return;
    stage.focus({ preventScroll: true });
    stage.setPointerCapture(event.pointerId);
    const inOverview = Boolean(event.target.closest(".tml-overview"));
    drag = { inOverview, x: event.clientX, from: event.shiftKey ? timeline.anchor : time(event), moved: event.shiftKey };
    if (inOverview) overviewTo(event);
    else if (event.shiftKey) timeline.select(drag.from, time(event));
  });
  stage.addEventListener("pointermove", (event) => {
    const row = rowAt(event);
    if (row && place(event) >= 0) row.tell(time(event), (event.clientY - row.line.getBoundingClientRect().top) / row.line.clientHeight);
    if (!drag) return;
    if (drag.inOverview) overviewTo(event);
    else if (drag.moved || Math.abs(event.clientX - drag.x) > STILL) {
      drag.moved = true;
      timeline.select(drag.from, time(event), false);
    }
  });
  stage.addEventListener("pointerup", (event) => {
    if (drag && !drag.inOverview) {
      if (drag.moved) timeline.select(drag.from, time(event));
      else {
        timeline.clearSelection();
        timeline.moveTo(time(event), { follow: false, seek: true });
      }
    }
    drag = null;
  });
  stage.addEventListener("pointercancel", () => (drag = null));
  stage.addEventListener("pointerleave", () => timeline.tellAll());
  function overviewTo(event) {
    const t = (place(event) / axis.width) * axis.seconds;
    axis.show(t - axis.span / 2, t + axis.span / 2);
  }

  stage.addEventListener("dblclick", (event) => {
    if (place(event) < 0 || event.target.closest(".tml-overview")) return;
    const t = time(event);
    const words = rowAt(event)?.lane.data.words;
    const word = words?.[firstFrom(words, t + 1e-9) - 1];
    if (word && word[1] > t) timeline.select(word[0], word[1]);
    else timeline.select(...timeline.turnSpan(timeline.turnOf(t)));
  });
  stage.addEventListener("wheel", (event) => {
    const across = Math.abs(event.deltaX) > Math.abs(event.deltaY);
    const zooms = event.ctrlKey || event.metaKey;
    if (!zooms && !event.shiftKey && !across) return; // a plain wheel scrolls the page
    event.preventDefault();
    if (zooms) axis.zoom(Math.exp(event.deltaY * 0.003), time(event));
    else axis.pan((across ? event.deltaX : event.deltaY) / axis.perSecond);
  }, { passive: false });

  const keys = {
    " ": () => timeline.sound.toggle(), ArrowRight: (e) => timeline.step(1, e.shiftKey), ArrowLeft: (e) => timeline.step(-1, e.shiftKey),
    n: () => timeline.word(1), p: () => timeline.word(-1), "+": () => axis.zoom(0.5, timeline.at), "=": () => axis.zoom(0.5, timeline.at),
    "-": () => axis.zoom(2, timeline.at), 0: () => axis.show(0, axis.seconds), Enter: () => timeline.near(),
    Home: () => timeline.moveTo(0, { seek: true }), End: () => timeline.moveTo(axis.seconds, { seek: true }),
    PageUp: () => axis.pan(-axis.span), PageDown: () => axis.pan(axis.span), l: () => timeline.sound.loop(), s: () => timeline.sound.slow(),
    c: () => timeline.setCaptions(), Escape: () => timeline.clearSelection(), "?": () => timeline.help(),
  };
  timeline.root.addEventListener("keydown", (event) => {
    const inControl = event.target.closest("button, select, input, summary, dialog, tr");
    const passes = event.key === "?" || (event.key === "Escape" && !event.target.closest("dialog"));
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    // No key pressed here is the notebook's: there a "b" would be a new cell. (The stage's attribute says the same to
    // Lab, which looks for it at the focused element alone.)
    event.stopPropagation();
    const act = inControl && !passes ? null : keys[event.key];
    if (!act) return;
    event.preventDefault();
    act(event);
  });
}
