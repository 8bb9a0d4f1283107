"""Widgets of the lab for Jupyter: one small Python class and one readable ES module each (anywidget, no build step)."""
