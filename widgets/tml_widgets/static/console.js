// The console: the live widget's engine with more to it, and a view made for a projector.

import { ConsoleEngine } from "./console_engine.js";
import { ConsoleView } from "./console_view.js";

export default () => {
  let engine = null;
  return {
    initialize({ model }) {
      engine = new ConsoleEngine(model);
      return () => engine.dispose();
    },
    render({ model, el }) {
      const view = new ConsoleView(model, engine, el);
      return () => view.dispose();
    },
  };
};
