"""The page behind the link that `tml serve` prints: whether the server is there, and what to write in a notebook.

The token stands after `#`, so the browser does not send it with the page's address; the page asks the server, in a
header, whether it is right. A link without a token is not tried: a class behind one address may guess only so often.
"""

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>TML Lab session server</title>
<style>:root{color-scheme:light dark}
body{font:1.1rem/1.5 system-ui,sans-serif;max-width:46rem;margin:1.5rem auto;padding:0 1rem}
h1{font-size:1.6rem;line-height:1.2}
pre{margin:.3rem 0;padding:1rem;border:1px solid;border-radius:.4rem;white-space:pre-wrap;overflow-wrap:anywhere}
button{min-height:2.75rem;padding:.3rem 1.2rem;font:inherit}
#state{padding:.5rem 1rem;border-left:.3rem solid}</style>
<h1>TML Lab session server</h1>
<p id="state" role="status">Asking the server ...</p>
<noscript>This page needs JavaScript to show what to write in a notebook.</noscript>
<p>In a notebook of the lab, write:</p>
<pre id="code" tabindex="0" aria-label="What to write in a notebook"></pre>
<button type="button" id="copy">Copy</button> <span id="copied" role="status"></span>
<p>To talk to it with microphone and loudspeaker, in the next cell:</p>
<pre tabindex="0" aria-label="To talk to it">from tml_widgets import LiveSession

LiveSession(connect)</pre>
<p id="trust" hidden>If the notebook says that the certificate is not trusted, ask for the file of the certificate and
write its name too: <code>certificate="cert.pem"</code>.</p>
<script>
const at = (id) => document.getElementById(id);
const token = (new URLSearchParams(location.hash.slice(1)).get("token") ?? "").trim();
const url = location.origin.replace(/^http/, "ws");
const given = token ? `, token=${JSON.stringify(token)}` : "";
at("code").textContent = `from tml_lab.serve.session import Session

def connect():
    return Session.connect(${JSON.stringify(url)}${given})

session = connect()`;
at("trust").hidden = location.protocol !== "https:";
at("copy").onclick = async () => {
  try {
    await navigator.clipboard.writeText(at("code").textContent);
    at("copied").textContent = "Copied.";
  } catch {  // browsers lend the clipboard to https pages and to localhost only
    getSelection().selectAllChildren(at("code"));
    at("copied").textContent = "It is selected: copy it with Ctrl+C, on a phone with a long press.";
  }
};
const WAKING = "The model is being loaded: it will be there in a moment.";
const RUNS = "The server runs.";
const NO_TOKEN = "The server runs. This link has no token: if the notebook says one is wanted, ask for the whole link.";
const GONE = "The server does not answer now: is it up, and are you in its network? This page goes on asking.";
async function state() {
  const health = await fetch("/health");
  if (health.status === 503) return WAKING;
  if (!token) return NO_TOKEN;
  const headers = { Authorization: `Bearer ${token}` };
  const asked = await fetch("/session_info?session_id=none", { headers });
  if (asked.status === 404) return RUNS; // it let us in, and has no such session
  const { sentence } = await asked.json();
  return sentence[0].toUpperCase() + sentence.slice(1);
}
async function look() {
  const words = await state().catch(() => GONE);
  if (at("state").textContent !== words) at("state").textContent = words;
  if (words === WAKING || words === GONE) setTimeout(look, 2000);
}
look();
</script></html>
"""
