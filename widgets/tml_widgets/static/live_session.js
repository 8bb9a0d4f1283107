// The widget: one engine per model, one view per place where the notebook shows it.

import { Engine } from "./engine.js";
import { View } from "./view.js";

export default () => {
  let engine = null;
  return {
    initialize({ model }) {
      engine = new Engine(model);
      return () => engine.dispose();
    },
    render({ model, el }) {
      const view = new View(model, engine, el);
      return () => view.dispose();
    },
  };
};
