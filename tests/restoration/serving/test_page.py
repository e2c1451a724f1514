"""The page in a real browser."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from restoration.service.security import Access

from .conftest import Serve, picture, pixels_of

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
TOKEN = "a-token-of-the-page"
expect = sync_api.expect


@pytest.fixture(scope="module")
def served(listen: Serve) -> Iterator[str]:
    """The address of a server that asks for a token."""
    with listen(Access((TOKEN,))) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = next((path for path in map(shutil.which, BROWSERS) if path), None)
    if path is None:
        pytest.skip("Chromium is not installed: the page is not tested (Debian: apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Any) -> Iterator[Any]:
    """One user's browser; what the page complains of fails the test."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, accept_downloads=True)
    context.set_default_timeout(30_000)
    sync_api.expect.set_options(timeout=30_000)
    said: list[str] = []
    context.on("weberror", lambda error: said.append(str(error.error)))
    context.on("console", lambda line: said.append(line.text) if "Security Policy" in line.text else None)
    yield context
    context.close()
    assert said == []


def opened(context: Any, served: str) -> Any:
    """The page, its token given."""
    page = context.new_page()
    page.goto(served)
    page.get_by_role("textbox", name="Token").fill(TOKEN)
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#task option")).not_to_have_count(0)
    return page


def choose(page: Any, task: str = "sr2", name: str = "a.png", **fields: str) -> None:
    file = {"name": name, "mimeType": "image/png", "buffer": picture()}
    page.set_input_files("#file", file)
    page.select_option("#task", task)
    page.locator("summary").click()
    for field, value in fields.items():
        page.fill(f"[name={field}]", value)


def test_picture_improves_live_and_can_be_compared_and_taken_home(context: Any, served: str) -> None:
    page = opened(context, served)
    choose(page, outer="3", inner="4", seed="7")
    page.get_by_role("button", name="Restore").click()
    card = page.locator(".card")
    expect(card.locator(".status")).to_have_text(re.compile(r"Done: 12 of 12 evaluations.*Seed 7"))
    expect(card.locator(".strip button")).to_have_count(4)
    first = card.locator(".after").get_attribute("src")
    card.get_by_role("button", name="after 4").click()
    assert card.locator(".after").get_attribute("src") != first
    expect(card.get_by_role("button", name="after 4")).to_have_attribute("aria-pressed", "true")
    slider = card.get_by_role("slider")
    slider.focus()
    page.keyboard.press("End")
    assert "0% 0px 0px" in card.locator(".before").evaluate("e => getComputedStyle(e).clipPath") or (
        card.locator(".before").evaluate("e => e.style.clipPath") == "inset(0px 0% 0px 0px)"
    )
    with page.expect_download() as download:
        card.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "a-sr2-004.png"
    assert Path(download.value.path()).read_bytes()[:4] == b"\x89PNG"
    card.get_by_role("button", name="Keep going").click()
    expect(card.locator(".status")).to_have_text(re.compile(r"Done: 2\d of 2\d evaluations"))
    card.get_by_role("button", name="Another seed").click()
    expect(page.locator(".card")).to_have_count(2)
    expect(page.locator(".card.busy")).to_have_count(0)


def test_run_is_stopped_and_survives_a_reload_in_two_tabs(context: Any, served: str) -> None:
    page = opened(context, served)
    choose(page, outer="90", inner="10")
    page.get_by_role("button", name="Restore").click()
    expect(page.locator(".strip button").first).to_be_visible()
    page.reload()  # in the middle
    expect(page.locator(".card .status")).to_have_text(re.compile(r"\d+ of 900 evaluations"))
    other = opened(context, served)
    expect(other.locator(".card .status")).to_have_text(re.compile(r"\d+ of 900 evaluations"))
    page.get_by_role("button", name="Stop here").click()
    for tab in (page, other):
        expect(tab.locator(".card .status")).to_have_text(re.compile(r"Stopped: \d+ of 900 evaluations"))
    page.get_by_role("button", name="Forget this restoration").click()
    expect(page.locator(".card")).to_have_count(0)


def test_mask_is_painted_undone_and_filled_by_mouse_and_keyboard(context: Any, served: str) -> None:
    page = opened(context, served)
    choose(page, "inpaint", outer="1", inner="3")
    page.get_by_role("button", name="Restore").click()
    expect(page.locator("#ask-problem")).to_contain_text("Inpaint needs --mask")
    canvas = page.locator("#canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    marked = "() => { const c = document.getElementById('canvas'); const d = c.getContext('2d')"
    marked += ".getImageData(0, 0, c.width, c.height).data; return d.join() }"
    clean = page.evaluate(marked)
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.3)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5, steps=5)
    page.mouse.up()
    assert page.evaluate(marked) != clean
    page.get_by_role("button", name="Undo").click()
    assert page.evaluate(marked) == clean
    page.get_by_role("button", name="Zoom in").click()
    assert canvas.bounding_box()["width"] > 1.4 * box["width"]
    canvas.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Space")
    page.get_by_role("button", name="Restore").click()
    expect(page.locator(".card .status")).to_have_text(re.compile("Done: 3 of 3"))


def test_errors_are_in_words(context: Any, served: str) -> None:
    page = opened(context, served)
    page.get_by_role("button", name="Restore").click()
    expect(page.locator("#ask-problem")).to_have_text("Choose a picture first, or take an example.")
    page.set_input_files("#file", {"name": "b.png", "mimeType": "image/png", "buffer": b"no picture"})
    page.select_option("#task", "sr2")
    page.get_by_role("button", name="Restore").click()
    expect(page.locator("#ask-problem")).to_contain_text("b.png: is not a PNG, JPEG")
    choose(page, "denoise")
    page.get_by_role("button", name="Restore").click()
    expect(page.locator("#ask-problem")).to_contain_text("Denoise needs sigma > 0")


@pytest.mark.parametrize("width", [390, 1280])
def test_page_fits_and_is_dark_where_that_is_preferred(browser: Any, served: str, width: int) -> None:
    tones = {}
    for scheme in ("light", "dark"):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        page = opened(context, served)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        tones[scheme] = sum(map(int, re.findall(r"\d+", colour)[:3]))
        context.close()
    assert tones["dark"] < 150
    assert tones["light"] > 600


def test_everything_is_named_for_those_who_cannot_see_it(context: Any, served: str) -> None:
    page = opened(context, served)
    choose(page, outer="1", inner="2")
    page.get_by_role("button", name="Restore").click()
    expect(page.locator(".card .status")).to_have_text(re.compile("Done"))
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select")].filter((e) => {
            const label = e.labels?.[0]?.innerText ?? "";
            return !(e.innerText || label || e.ariaLabel || e.title) && e.checkVisibility();
        }).map((e) => e.outerHTML)"""
    )
    assert unnamed == []
    expect(page.get_by_role("status")).to_have_text(re.compile("Done"))
    assert page.locator(".card img.after").get_attribute("alt")


def test_many_running_at_once_leave_the_browser_a_connection(context: Any, served: str) -> None:
    page = opened(context, served)
    open_: set[Any] = set()
    context.on("request", lambda request: open_.add(request) if request.url.endswith("/events") else None)
    for over in ("requestfinished", "requestfailed"):
        context.on(over, lambda request: open_.difference_update([request]))
    choose(page, outer="99", inner="10")
    for number in range(7):  # a browser has six connections to a server
        page.get_by_role("button", name="Restore").click()
        expect(page.locator(".card")).to_have_count(number + 1)
    for card in page.locator(".card").all():
        expect(card.locator(".status")).to_have_text(re.compile(r"^\d+ of 990 evaluations, \d+\.\d s"))
        expect(card.locator(".strip button").first).to_be_visible()
    assert len(open_) <= 2
    other = opened(context, served)  # a second window shares them
    for card in other.locator(".card").all():
        expect(card.locator(".status")).to_have_text(re.compile(r"^\d+ of 990 evaluations, \d+\.\d s"))
    assert len(open_) <= 3
    other.close()
    for card in page.locator(".card").all():
        card.get_by_role("button", name="Stop here").click()
    for card in page.locator(".card").all():
        expect(card.locator(".status")).to_have_text(re.compile(r"^Stopped: \d+ of 990 evaluations.*Seed"))


def test_keep_going_goes_on_once_however_often_it_is_clicked(context: Any, served: str) -> None:
    page = opened(context, served)
    choose(page, outer="1", inner="2")
    page.get_by_role("button", name="Restore").click()
    card = page.locator(".card")
    expect(card.locator(".status")).to_have_text(re.compile("Done: 2 of 2"))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/more") else None)
    card.locator(".more").evaluate("button => { button.click(); button.click(); }")
    expect(card.locator(".status")).to_have_text(re.compile(r"Done: (?!2 of)"))
    assert len(asked) == 1


def test_token_dialog_says_what_is_wrong_and_can_be_left(context: Any, served: str) -> None:
    page = context.new_page()
    page.goto(served)
    page.get_by_role("textbox", name="Token").fill("a-token-that-nobody-knows")
    page.keyboard.press("Enter")
    expect(page.locator("#token-problem")).to_have_text("The server does not know this token.")
    page.keyboard.press("Escape")
    expect(page.locator("#token-dialog")).to_be_hidden()
    expect(page.locator("#trouble")).to_have_text(re.compile("only with a token. Reload the page"))
    page.wait_for_timeout(300)
    expect(page.locator("#token-dialog")).to_be_hidden()
    page.reload()
    page.get_by_role("textbox", name="Token").fill(TOKEN)
    page.keyboard.press("Enter")
    expect(page.locator("#task option")).not_to_have_count(0)


def test_late_preview_is_not_put_over_the_result_and_no_address_leaks(context: Any, served: str) -> None:
    page = context.new_page()
    page.add_init_script(
        """window.alive = new Set();
        const make = URL.createObjectURL, end = URL.revokeObjectURL;
        URL.createObjectURL = (blob) => { const made = make(blob); alive.add(made); return made; };
        URL.revokeObjectURL = (made) => { alive.delete(made); end(made); };
        const fetched = window.fetch;
        window.fetch = async (path, options) => {
          if (String(path).includes("show=live")) await new Promise((done) => setTimeout(done, 700));
          return fetched(path, options);
        };"""
    )
    page.goto(served)
    page.get_by_role("textbox", name="Token").fill(TOKEN)
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#task option")).not_to_have_count(0)
    choose(page, outer="2", inner="9")
    page.get_by_role("button", name="Restore").click()
    card = page.locator(".card")
    for again, end in enumerate(("Done: 18 of 18", "Done: (?!18 of)")):
        expect(card.locator(".status")).to_have_text(re.compile(end))
        page.wait_for_timeout(1000)  # what was on its way has come
        result = card.locator("[data-name=result] img").get_attribute("src")
        assert card.locator(".after").get_attribute("src") == result
        strip = card.locator(".strip img").count()
        assert page.evaluate("alive.size") == strip + 1  # and the degraded one
        if not again:
            page.get_by_role("button", name="Keep going").click()
    page.get_by_role("button", name="Forget this restoration").click()
    expect(card).to_have_count(0)
    assert page.evaluate("alive.size") == 0


def test_candidates_are_chosen_by_mouse_and_keyboard(context: Any, served: str) -> None:
    page = opened(context, served)
    choose(page, outer="2", inner="3", seed="7", candidates="3")
    page.get_by_role("button", name="Restore").click()
    card = page.locator(".card")
    offered = card.get_by_role("group", name="Candidates: keep one")
    expect(offered.get_by_role("button", name=re.compile(r"^Keep \d"))).to_have_count(3)
    expect(card.locator(".status")).to_have_text(re.compile("Which shall be kept. 3 of 6"))
    page.reload()  # it waits through that, too
    expect(offered.get_by_role("button", name=re.compile(r"^Keep \d"))).to_have_count(3)
    expect(card.get_by_role("button", name="Keep going")).to_be_hidden()
    offered.get_by_role("button", name="Keep 2").click()
    expect(card.locator(".status")).to_have_text(re.compile("Which shall be kept. 6 of 6"))
    expect(card.get_by_role("button", name="after 3")).to_be_visible()  # the one that was kept
    offered.get_by_role("button", name="Keep 3").focus()
    page.keyboard.press("Enter")
    expect(card.locator(".status")).to_have_text(re.compile("Done: 6 of 6 evaluations.*Seed 7"))
    expect(offered).to_be_hidden()
    expect(card.get_by_role("button", name="Keep going")).to_be_visible()


def test_a_result_is_painted_on_as_an_edit_and_a_coloured_one_with_strokes(context: Any, served: str) -> None:
    page = opened(context, served)
    choose(page, "inpaint", outer="1", inner="6", seed="7")
    page.locator("#canvas").focus()
    page.keyboard.press("Space")
    page.get_by_role("button", name="Restore").click()
    card = page.locator(".card")
    card.get_by_role("button", name="Paint on it").click()
    dialog = page.get_by_role("dialog", name="Paint on it")
    canvas = dialog.get_by_role("img", name="The picture to paint on")
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.5, steps=5)
    page.mouse.up()
    dialog.get_by_role("button", name="Go on with it").click()
    expect(card.locator(".status")).to_have_text(re.compile("Done: 12 of 12"))
    expect(card.locator(".notes")).to_contain_text("of the edit contradicts the measurement")
    page.locator("summary").click()  # closed, to be opened again
    choose(page, "colorize", outer="1", inner="2", seed="7")
    page.get_by_role("button", name="Restore").click()
    expect(card.first.locator(".status")).to_have_text(re.compile("Done: 2 of 2"))
    card.first.get_by_role("button", name="Paint on it").click()
    dialog.get_by_label("Colour", exact=True).fill("#20a040")
    canvas.focus()
    page.keyboard.press("Space")  # the brush is in the middle
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Space")
    expect(dialog.get_by_text("Keep it also where")).to_be_hidden()
    with page.expect_request(lambda request: request.method == "POST") as sent:
        dialog.get_by_role("button", name="Go on with it").click()
    id = sent.value.response().json()["id"]
    given = httpx.get(
        f"{served}/v1/restorations/{id}/image?show=degraded", headers={"Authorization": f"Bearer {TOKEN}"}
    )
    red, green, blue = pixels_of(given.content)[8, 8].astype(int)  # grey, but where there are strokes
    assert green > red + 20
    assert green > blue + 20
    expect(card).to_have_count(3)
    expect(card.first.locator(".status")).to_have_text(re.compile("Done: 2 of 2.*Seed 7"))
