// What went wrong with the microphone, in plain words: what happened, and what to do about it.

const WORDS = {
  NotAllowedError:
    "The microphone was refused. Click the microphone or lock sign in the browser's address bar, allow it for this page, and press Start again.",
  NotFoundError: "No microphone was found. Plug one in, or play a recording instead.",
  NotReadableError:
    "The microphone is there but cannot be opened; another program may be using it. Close that program and press Start again.",
  OverconstrainedError:
    "The microphone or camera cannot do what was asked of it. Choose another one in the browser's settings, or play a recording instead.",
  SecurityError: "This page is not allowed to use the microphone. Open the notebook in a browser tab of its own.",
  AbortError: "The microphone could not be started. Press Start again.",
};

// Why sound cannot work on this page at all; "" when it can.
export function obstacle() {
  if (!window.isSecureContext) {
    return "Browsers open the microphone only on https pages and on localhost. Open this notebook as http://localhost:…, or have the server use https. Recordings need that too.";
  }
  if (!navigator.mediaDevices?.getUserMedia || !window.AudioWorkletNode) {
    return "This browser cannot open a microphone here. Use a current Chrome, Edge, Firefox or Safari; inside another page, that page must allow it (allow=\"microphone; camera\").";
  }
  return "";
}

export function inPlainWords(error) {
  const known = WORDS[error?.name];
  if (known) return known;
  return `The microphone could not be opened: ${error?.message || error?.name || error}.`;
}
