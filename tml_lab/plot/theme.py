"""Figures follow the page: in a notebook with a dark theme the light figures turn dark, without being drawn anew.

The kernel does not know the page's theme, which may also change after a figure is drawn. So the page itself does it:
with each figure goes a style that turns light and dark round and keeps the hues (blue stays silence, orange speech).
Transparent paper and one grey for both pages would not do: JupyterLab's white and its `#111111` have a contrast of
18.9 : 1, and text that is to have 4.5 : 1 on both needs 4.5 * 4.5 = 20.25.
"""

from __future__ import annotations

import numpy as np

INVERT, HUE, SATURATE = 0.94, 185, 1.2
"""How far light and dark change places (white paper becomes `#0f0f0f`, next to JupyterLab's `#111111`), then degrees
and a factor that bring the hues back such that any eye tells `style.SERIES` apart (180 and 1 fail protanopes)."""
_GREY = np.array([[0.213, 0.715, 0.072]] * 3)
_QUARTER = np.array([[-0.213, -0.715, 0.928], [0.143, 0.140, -0.283], [-0.787, 0.715, 0.072]])
DARK_PAGES = ('[data-jp-theme-light="false"]', "body.vscode-dark", "html[theme=dark]")
"""JupyterLab and pages that nbconvert writes; VS Code; Colab."""
WHITE = "rgb(255, 255, 255)"
RENDERER = "follow_page"
IN_PAGES = frozenset({"plotly_mimetype", "jupyterlab", "notebook", "notebook_connected", "vscode", "colab"})
"""Renderers that draw into a notebook's page."""


def turned(rgb: np.ndarray) -> np.ndarray:
    """Colours `[..., 3]` from 0 to 1 as `page_style` shows them on a dark page.

    Source: Filter Effects Module Level 1, section 9.6 (the matrices of `hue-rotate` and `saturate`).
    """
    angle, rest = np.radians(HUE), np.eye(3) - _GREY
    inverted = INVERT + (1 - 2 * INVERT) * rgb
    rotated = np.clip(inverted @ (_GREY + np.cos(angle) * rest + np.sin(angle) * _QUARTER).T, 0, 1)
    return np.clip(rotated @ (_GREY + SATURATE * rest).T, 0, 1)


def page_style() -> str:
    """The style that turns figures on white paper dark where the page is; camera pictures in them stay as they are."""
    white = f':is({", ".join(DARK_PAGES)}) .js-plotly-plot:has(.main-svg[style*="{WHITE}"])'
    turn = f"invert({INVERT}) hue-rotate({HUE}deg) saturate({SATURATE})"
    back = f"saturate({1 / SATURATE:.3f}) hue-rotate({-HUE}deg) invert(1)"
    return f"<style>{white} {{ filter: {turn}; }} {white} .im image {{ filter: {back}; }}</style>"


def follow_page() -> None:
    """From now on each figure shown in a notebook brings `page_style` along; elsewhere nothing changes."""
    import plotly.io as pio
    from plotly.io.base_renderers import ExternalRenderer

    names = (pio.renderers.default or "").split("+")
    if RENDERER in names or not IN_PAGES.intersection(names):
        return

    class FollowPage(ExternalRenderer):
        def render(self, fig_dict: dict[str, object]) -> None:
            from IPython.display import HTML, display

            display(HTML(page_style()))

    pio.renderers[RENDERER] = FollowPage()
    pio.renderers.default = "+".join([*names, RENDERER])
