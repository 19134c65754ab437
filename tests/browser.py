"""A headless browser to look at pages with."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from pathlib import Path

import pytest

# a window is at least 500 pixels wide, so a page is shown in a frame, which can be as narrow as a phone
FRAME = """<!DOCTYPE html><title>?</title><body style="margin:0">
<iframe src="page.html" style="border:0;width:{width}px;height:{height}px"></iframe>
<script>addEventListener("message", event => document.title = event.data)</script>"""
PROBE = """<script>
parent.postMessage([innerWidth, document.documentElement.scrollWidth].join(), "*")
</script></body>"""


class Browser:
    """Debian's chromium.

    Args:
        folder: where it may write.
    """

    def __init__(self, folder: Path) -> None:
        self._command = shutil.which("chromium")
        if self._command is None:
            pytest.skip("chromium is not installed")
        self._folder = folder

    def widths(self, page: str, width: int) -> tuple[int, int]:
        """Returns the width of a frame and that of the page in it: more, if it has to be scrolled to the side."""
        # the page's policy allows no script, the probe is one
        probed = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page).replace("</body>", PROBE)
        dom = self._run(self._framed(probed, width), "--dump-dom", "--virtual-time-budget=5000")
        title = html.unescape(re.search(r"<title>(.*?)</title>", dom).group(1))
        inner, scrolled = map(int, title.split(","))
        return inner, scrolled

    def screenshot(self, page: str, width: int, *, dark: bool = False) -> Path:
        """Returns the picture of a page's top, 800 pixels high."""
        picture = self._folder / "page.png"
        scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
        self._run(self._framed(page, width), f"--screenshot={picture}", *scheme)
        return picture

    def _framed(self, page: str, width: int) -> str:
        (self._folder / "page.html").write_text(page, encoding="utf-8")
        frame = self._folder / "frame.html"
        frame.write_text(FRAME.format(width=width, height=800), encoding="utf-8")
        return frame.as_uri()

    def _run(self, url: str, *arguments: str) -> str:
        profile = f"--user-data-dir={self._folder / 'profile'}"
        # chromium's own sandbox does not run as root, as CI does
        command = [
            self._command,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            profile,
            "--window-size=1280,800",
        ]
        result = subprocess.run(
            [*command, *arguments, url], capture_output=True, text=True, check=False, timeout=120, errors="replace"
        )
        assert result.returncode == 0, result.stderr
        return result.stdout
