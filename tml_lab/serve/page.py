"""The page behind the link that `tml serve` prints: what to write in a notebook.

The token stands after `#`, so the browser never sends it; the page reads it where it is.
"""

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>TML Lab session server</title>
<style>body{font:1.1rem/1.5 system-ui,sans-serif;max-width:46rem;margin:3rem auto;
padding:0 1rem;color-scheme:light dark}
pre{padding:1rem;border:1px solid;border-radius:.4rem;white-space:pre-wrap;overflow-wrap:anywhere}</style>
<h1>TML Lab session server</h1>
<p>It runs. In a notebook of the lab, write:</p>
<pre id="code" tabindex="0"></pre>
<script>
const token = new URLSearchParams(location.hash.slice(1)).get("token");
const url = location.origin.replace(/^http/, "ws");
const given = token ? `, token=${JSON.stringify(token)}` : "";
document.getElementById("code").textContent =
  `from tml_lab.serve.session import Session\\n\\nsession = Session.connect(${JSON.stringify(url)}${given})`;
</script></html>
"""
