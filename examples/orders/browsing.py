"""The page as a person sees it, for its tests and its pictures: the program in a process, and a headless Chromium.

``python -m examples.orders.browsing [DIRECTORY]`` takes the documentation's pictures, into docs/images unless given.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "docs" / "images"
CHROMIUM = "STREAMKIT_CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SIZES = {"wide": (1280, 1000), "narrow": (400, 1400)}
DRAWN = """() => [...document.querySelectorAll("svg")].every((svg) => svg.viewBox.baseVal.width === svg.clientWidth)"""
"""Whether the charts were drawn for the size that they have now."""
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


class NoBrowser(RuntimeError):
    """There is no Chromium on this machine."""


def chromium() -> str:
    """The Chromium of this machine.

    Raises:
        NoBrowser: There is none.
    """
    found = os.environ.get(CHROMIUM) or next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        raise NoBrowser(f"no Chromium found: `apt-get install chromium`, or name one in {CHROMIUM}")
    return found


@contextmanager
def browser() -> Iterator[Browser]:
    """A headless Chromium that talks to nobody but us."""
    path = chromium()
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=QUIET)
        try:
            yield launched
        finally:
            launched.close()


@contextmanager
def served(*arguments: str, page_port: int = 0) -> Iterator[str]:
    """The program in a process of its own, and its page's address; ended as by Ctrl-C."""
    command = [sys.executable, "-m", "examples.orders", f"--port={page_port}", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    try:
        address = ""
        for line in process.stdout:
            if line.startswith("The page: "):
                address = line.split()[2]
                break
        if not address:
            raise RuntimeError(f"the program ended with status {process.wait()}")
        yield address
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def play(page: Page) -> None:
    """Have something of everything on the page: events at a rate, a crash, a pill on its way, a dead letter."""
    page.locator("#poison").click()
    page.locator("#rate").fill("60")
    expect(page.locator("#letters tbody tr")).to_have_count(1, timeout=20_000)
    page.locator("#produce input[name=count]").fill("250")
    page.locator("#produce button").click()
    crash = page.locator("#group-notifications tbody tr", has_text="worker-a").get_by_role("button", name="Crash 3")
    crash.click()
    expect(page.locator("#log")).to_contain_text("crashed with")
    page.locator("#poison").click()
    expect(page.locator("#pending")).to_contain_text("retry in")
    expect(page.locator("#pending")).to_contain_text("may be reaped", timeout=20_000)
    page.locator("#replay button").click()
    expect(page.locator("#replay-said")).to_contain_text("replayed")
    expect(page.locator("#said")).to_be_hidden(timeout=15_000)


def take_pictures(directory: Path) -> list[Path]:
    """The page in both themes, wide and narrow."""
    taken: list[Path] = []
    times = ("--min-idle-time=4", "--sweep-every=60")
    with served(*times) as address, browser() as launched:
        page = launched.new_page()
        page.goto(address)
        play(page)
        for size, (width, height) in SIZES.items():
            for theme in THEMES:
                page.set_viewport_size({"width": width, "height": height})
                page.emulate_media(color_scheme=theme)
                page.evaluate("window.scrollTo(0, 0)")
                page.wait_for_function(DRAWN)
                path = directory / f"orders-{size}-{theme}.png"
                picture = Image.open(BytesIO(page.screenshot(full_page=size == "wide")))
                # A page has few colours: this takes a third of the bytes, and looks the same.
                picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)
                taken.append(path)
    return taken


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURES
    for each in take_pictures(target):
        print(f"{each} ({each.stat().st_size // 1024} KB)")
