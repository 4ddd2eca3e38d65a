"""The orders page in a real browser: everything a person can do there, and what they are shown."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Dialog, Locator, Page, expect

from examples.orders.browsing import SIZES, THEMES, NoBrowser, browser, chromium, served

PATIENCE = 60_000.0
"""How long to wait for the page, ms."""
NUMBER = re.compile(r"\d+")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served("--min-idle-time=1", "--sweep-every=2") as each:
        yield each


@pytest.fixture(scope="module")
def launched() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE)
    with browser() as each:
        yield each


@pytest.fixture
def page(address: str, launched: Browser) -> Iterator[Page]:
    """The page, reset, and with the timer off; nothing may go wrong in its script."""
    context = launched.new_context(viewport={"width": 1280, "height": 1000})
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    problems: list[str] = []
    elsewhere: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith(address) else elsewhere.append(request.url))
    page.goto(address)
    expect(page.locator("#live")).to_have_text("live")
    page.locator("#reset").click()
    said(page, "Reset: an empty stream, and the consumers of the start.")
    expect(page.locator("#timer")).to_be_checked()  # which the reset did
    shows(page, "produced", "0")
    page.locator("#timer").uncheck()
    said(page, "The timer is off.")
    yield page
    context.close()
    assert (problems, elsewhere) == ([], [])


def said(page: Page, text: str | re.Pattern[str]) -> None:
    expect(page.locator("#said")).to_have_text(text)
    expect(page.locator("#said")).not_to_have_class(re.compile("bad"))


def complained(page: Page, text: str | re.Pattern[str]) -> None:
    expect(page.locator("#said.bad")).to_contain_text(text)


def shows(page: Page, tile: str, text: str) -> None:
    expect(page.locator(f"#{tile}")).to_have_text(text)


def row(page: Page, group: str, consumer: str) -> Locator:
    return page.locator(f"#group-{group} tbody tr[data-key={consumer}]")


def press(page: Page, group: str, consumer: str, button: str) -> None:
    row(page, group, consumer).get_by_role("button", name=button).click()


def pending(page: Page, group: str) -> Locator:
    return page.locator("#pending tbody tr", has_text=group)


def produce(page: Page, count: int, event_type: str = "random", customer: str = "") -> None:
    form = page.locator("#produce")
    form.get_by_label("events").fill(str(count))
    form.get_by_label("type").select_option(event_type)
    form.get_by_label("customer").fill(customer)
    form.get_by_role("button").click()
    said(page, f"{count} event{'' if count == 1 else 's'} produced.")


def crash_three_of_analytics(page: Page) -> None:
    press(page, "analytics", "worker-c", "Crash 3")
    said(page, "worker-c crashes with its next 3 deliveries.")
    produce(page, 10)
    expect(pending(page, "analytics")).to_have_count(3)
    shows(page, "acked", "17")


def test_produce_events_and_watch_them(page: Page) -> None:
    produce(page, 12, "order.shipped", "Ada")
    for tile, number in {"length": "12", "produced": "12", "acked": "24", "claimed": "0", "dead": "0"}.items():
        shows(page, tile, number)
    tail = page.locator("#tail tbody tr")
    expect(tail).to_have_count(12)
    expect(tail.filter(has_text="order.shipped").filter(has_text="Ada")).to_have_count(12)
    expect(page.locator("#last")).to_have_text(tail.first.locator("td").first.inner_text())
    expect(page.locator("#first")).to_have_text(tail.last.locator("td").first.inner_text())
    expect(row(page, "analytics", "worker-c").locator("td").nth(1)).to_have_text("12")
    both = [row(page, "notifications", name).locator("td").nth(1).inner_text() for name in ("worker-a", "worker-b")]
    assert sum(map(int, both)) == 12
    expect(page.locator("#group-notifications .lag")).to_have_text("0")


def test_a_steady_rate_moves_the_chart(page: Page) -> None:
    page.locator("#rate").fill("50")
    expect(page.locator("#rate-said")).to_have_text("50 a second")
    expect(page.locator("#chart-rate .legend").first).to_have_text(re.compile(r"produced [3-9]\d"))
    for chart in ("rate", "lag", "pending"):
        expect(page.locator(f"#chart-{chart} polyline")).to_have_count(2)
    assert NUMBER.search(page.locator("#chart-rate polyline").first.get_attribute("points") or "")
    page.locator("#rate").fill("0")
    expect(page.locator("#rate-said")).to_have_text("off")
    expect(page.locator("#chart-rate .legend").first).to_have_text("produced 0")


def test_crash_look_and_reap_into_a_chosen_consumer(page: Page) -> None:
    crash_three_of_analytics(page)
    cells = pending(page, "analytics").first.locator("td")
    expect(cells.nth(2)).to_have_text("worker-c")
    expect(cells.nth(4)).to_have_text("1")
    expect(cells.nth(5)).to_have_text("may be reaped")
    page.locator("#group-analytics").get_by_label("name of a consumer to add").fill("worker-d")
    page.locator("#group-analytics").get_by_role("button", name="Add consumer").click()
    said(page, "worker-d joined analytics.")
    press(page, "analytics", "worker-d", "Reap")
    said(page, "worker-d took over 3 events.")
    expect(pending(page, "analytics")).to_have_count(0)
    shows(page, "claimed", "3")
    shows(page, "acked", "20")
    press(page, "analytics", "worker-d", "Reap")
    said(page, "Nothing to reap yet: others' events must be idle for 1 s.")


def test_the_timer_reaps(page: Page) -> None:
    crash_three_of_analytics(page)
    page.locator("#timer").check()
    expect(pending(page, "analytics")).to_have_count(0)
    expect(page.locator("#log")).to_contain_text("the timer had worker-c reap 3 of analytics")


def test_poison_pills_fail_wait_die_and_are_redriven_or_discarded(page: Page) -> None:
    for _ in range(2):
        page.locator("#poison").click()
        said(page, re.compile(r"The poison pill is \d+-\d+\."))
    shows(page, "produced", "2")
    expect(pending(page, "notifications").first).to_contain_text("retry in")
    expect(pending(page, "notifications").first).to_contain_text("order o-")
    letters = page.locator("#letters tbody tr")
    expect(letters).to_have_count(2)
    for letter in letters.all():
        expect(letter).to_contain_text("exhausted in notifications: Unnotifiable")
        expect(letter.locator("td").nth(2)).to_have_text("3")
    expect(pending(page, "notifications")).to_have_count(0)
    letters.first.get_by_role("button", name="Discard").click()
    said(page, "1 event discarded.")
    expect(letters).to_have_count(1)
    page.locator("#mended").check()
    said(page, "The handler is mended.")
    letters.get_by_role("button", name="Redrive").click()
    said(page, "1 event redriven.")
    shows(page, "dead", "0")
    shows(page, "length", "3")
    # Both pills and the redriven one by analytics; by notifications only that.
    shows(page, "acked", "4")
    expect(page.locator("#redrive-all")).to_be_disabled()


def test_who_is_removed_hands_over_and_says_how_many(page: Page) -> None:
    crash_three_of_analytics(page)
    form = page.locator("#group-analytics form")
    form.locator("input").fill("worker-z")
    form.get_by_role("button").click()
    said(page, "worker-z joined analytics.")
    expect(row(page, "analytics", "worker-z")).to_be_visible()
    press(page, "analytics", "worker-c", "Remove")
    said(page, "worker-c left analytics; 3 pending handed to worker-z.")
    expect(row(page, "analytics", "worker-c")).to_have_count(0)
    shows(page, "acked", "20")
    press(page, "analytics", "worker-z", "Remove")
    complained(page, "worker-z is the last consumer of analytics: add another one first")


def test_replay_a_range_of_ids(page: Page) -> None:
    produce(page, 8)
    tail = page.locator("#tail tbody tr")
    expect(tail).to_have_count(8)
    ids = [cell.inner_text() for cell in page.locator("#tail tbody td.id").all()]
    form = page.locator("#replay")
    form.get_by_label("from ID").fill(ids[5])
    form.get_by_label("to ID").fill(ids[2])
    form.get_by_role("button").click()
    said(page, "4 events replayed.")
    shown = page.locator("#replayed tbody td.id")
    expect(shown).to_have_text(ids[5:1:-1])
    form.get_by_label("newest first").check()
    form.get_by_label("at most").fill("2")
    form.get_by_role("button").click()
    said(page, "2 events replayed; there are more.")
    expect(shown).to_have_text(ids[2:4])
    form.get_by_label("from ID").fill("yesterday")
    form.get_by_role("button").click()
    complained(page, "'yesterday' is no entry ID")


def test_trim_and_reset(page: Page) -> None:
    produce(page, 20)
    shows(page, "acked", "40")
    page.locator("#trim input").fill("5")
    page.locator("#trim button").click()
    said(page, "Trimmed to 5: 15 events removed.")
    shows(page, "length", "5")
    expect(page.locator("#tail tbody tr")).to_have_count(5)
    page.locator("#reset").click()
    shows(page, "produced", "0")
    shows(page, "length", "0")
    expect(page.locator("#tail")).to_have_class("empty")


def test_bad_input_gets_a_readable_message(page: Page) -> None:
    form = page.locator("#produce")
    for text, words in {
        "0": "count: Input should be greater than or equal to 1",
        "5000": "count: Input should be less than or equal to 1000",
        "": "count: Input should be a valid integer",
        "1.5": "count: Input should be a valid integer",
    }.items():
        form.get_by_label("events").fill(text)
        form.get_by_role("button").click()
        complained(page, words)
    page.locator("#group-analytics form input").fill("<b>bold</b>")
    page.locator("#group-analytics form button").click()
    complained(page, "a name has 1 to 32 letters")
    shows(page, "produced", "0")


def test_text_from_events_stays_text(page: Page) -> None:
    nasty = "<img src=x onerror=alert(1)><b>Ada</b>"
    dialogs: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", dismiss)
    produce(page, 1, customer=nasty)
    expect(page.locator("#tail tbody")).to_contain_text(nasty)
    page.locator("#replay button").click()
    expect(page.locator("#replayed tbody")).to_contain_text(nasty)
    assert page.locator("#tail img, #tail b, #replayed img, #replayed b").count() == 0
    assert dialogs == []


@pytest.mark.parametrize("theme", THEMES)
def test_both_themes_fit_wide_and_narrow(page: Page, theme: str) -> None:
    produce(page, 5)
    grounds: list[str] = []
    for width, height in SIZES.values():
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        grounds.append(str(page.evaluate("getComputedStyle(document.body).backgroundColor")))
        for button in page.get_by_role("button").all():
            box = button.bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
    levels = [int(each) for each in NUMBER.findall(grounds[0])]
    assert (max(levels) < 80) if theme == "dark" else (min(levels) > 200)
    assert grounds[0] == grounds[1]


def test_a_machine_without_a_browser_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("STREAMKIT_CHROMIUM", raising=False)
    with pytest.raises(NoBrowser, match="apt-get install chromium"):
        chromium()
