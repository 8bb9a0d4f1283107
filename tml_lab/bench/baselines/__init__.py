"""Reference rows: what a benchmark gives to silence, spam, an endpoint detector, a slow oracle."""
