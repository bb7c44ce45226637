"""The report in headless Chromium: it renders, sorts, filters and highlights, and asks the network for nothing."""

from __future__ import annotations

import json
import shutil
import warnings

import numpy as np
import polars as pl
import pytest

from ddcl_tab.app._report import write_report
from ddcl_tab.app._train import MODEL_FILE, train_catalog, write_run
from ddcl_tab.space import synthetic_catalog, write_satcat
from ddcl_tab.space._satcat import read_satcat

selenium = pytest.importorskip("selenium", reason="selenium is not installed (extra test)")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="no chromium and chromedriver (Debian: apt-get install chromium-driver)"
)

QUICK = {"n_prototypes": 30, "d_token": 16, "n_heads": 2, "n_blocks": 1, "max_epochs": 3, "lr": 0.01, "certify": "end"}
WIDE, NARROW = 1280, 390
TABLE = "#unknown-table"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Report of a short training on a synthetic catalog, one of whose names is a script."""
    folder = tmp_path_factory.mktemp("browser")
    raw = synthetic_catalog(n_rows=500, random_state=2)
    # Enough unknown objects for a second page of the table.
    kind = raw["OBJECT_TYPE"].to_list()
    kind[::12] = ["UNKNOWN"] * len(kind[::12])
    names = raw["OBJECT_NAME"].to_list()
    names[0] = "<script>document.title = 'owned'</script>"
    raw = raw.with_columns(OBJECT_TYPE=pl.Series(kind), OBJECT_NAME=pl.Series(names), SATNAME=pl.Series(names))
    write_satcat(raw, folder / "catalog.csv")
    frame = read_satcat(folder / "catalog.csv")
    run = train_catalog(frame, target="OBJECT_TYPE", split="launch", seed=0, settings=QUICK, verbose=0)
    write_run(run, folder)
    write_report(folder / MODEL_FILE, folder / "catalog.csv", None, folder / "report.html")
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser():
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    # No sandbox: CI runs as root in a container. Reduced motion: a page that still glides is clicked beside the mark.
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "force-prefers-reduced-motion"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # selenium's own
        driver = webdriver.Chrome(options=options, service=Service(DRIVER))
        yield driver
        driver.quit()


@pytest.fixture(params=[WIDE, NARROW])
def page(request, browser, report):
    """The page, freshly loaded, at a width; afterwards there must be no message in the console and no request."""
    size = {"width": request.param, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(report.as_uri())
    yield browser
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert {url for url in asked if not url.startswith("data:")} == {report.as_uri()}


def find(page, css: str):
    return page.find_elements("css selector", css)


def shown_rows(page) -> list[list[str]]:
    script = "return [...document.querySelectorAll(arguments[0] + ' tbody tr')].filter(r => r.offsetHeight > 0)"
    script += ".map(r => [...r.cells].map(c => c.dataset.v ?? c.textContent.trim()))"
    return page.execute_script(script, TABLE)


def press(page, element) -> None:
    page.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
    element.click()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_renders_and_nothing_is_wider_than_the_screen(page, scheme):
    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    page.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    width = page.execute_script("return innerWidth")
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    beyond = page.execute_script(
        "return [...document.querySelectorAll('main *, header *, nav *')].filter(e => !e.closest('.sr, svg, thead') && "
        "e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"
    )
    assert beyond == []
    assert len(find(page, "svg.panel path.pt")) > 4
    assert page.title.startswith("SYNTHETIC")
    ground = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")


def test_columns_sort_by_button_and_keyboard(page):
    from selenium.webdriver.common.keys import Keys

    first = [float(row[4]) for row in shown_rows(page)]
    assert first == sorted(first, reverse=True)
    number, name, siblings = find(page, f"{TABLE} th button")[:3]
    number.send_keys(Keys.ENTER)
    assert find(page, f"{TABLE} th")[0].get_attribute("aria-sort") == "ascending"
    assert find(page, f"{TABLE} th")[4].get_attribute("aria-sort") == "none"
    rising = [int(row[0]) for row in shown_rows(page)]
    assert rising == sorted(rising)
    number.send_keys(Keys.SPACE)
    assert find(page, f"{TABLE} th")[0].get_attribute("aria-sort") == "descending"
    assert int(shown_rows(page)[0][0]) > rising[-1]
    press(page, name)
    names = [row[1] for row in shown_rows(page)]
    assert len(set(names)) > 1
    assert find(page, f"{TABLE} th")[1].get_attribute("aria-sort") == "ascending"
    press(page, siblings)
    least = [int(row[2]) for row in shown_rows(page)]
    press(page, siblings)
    most = [int(row[2]) for row in shown_rows(page)]
    assert least == sorted(least)
    assert most == sorted(most, reverse=True)
    assert least[0] < 10 < most[0]


def test_tables_filter_and_show_all_on_demand(page):
    total = len(find(page, f"{TABLE} tbody tr"))
    assert len(shown_rows(page)) == 25 < total
    press(page, find(page, f"{TABLE} + .more")[0])
    rows = shown_rows(page)
    assert len(rows) == total
    form = find(page, "form[data-for=unknown-table]")[0]
    form.find_element("name", "text").send_keys(rows[7][0])
    assert [row[0] for row in shown_rows(page)] == [rows[7][0]]
    assert "1 of 1 objects shown" in form.find_element("css selector", ".count").text
    form.find_element("name", "text").clear()
    form.find_element("name", "text").send_keys("<script>")
    assert [row[1] for row in shown_rows(page)] == ["<script>document.title = 'owned'</script>"]
    form.find_element("name", "text").clear()
    page.execute_script(
        "const s = arguments[0].elements.least; s.value = '0.8'; s.dispatchEvent(new Event('input', {bubbles: true}))",
        form,
    )
    sure = sum(float(row[4]) >= 0.8 for row in rows)
    assert len(shown_rows(page)) == min(25, sure) < total


def test_a_group_of_objects_is_highlighted_from_the_legend(page):
    from selenium.webdriver.common.keys import Keys

    chips = find(page, ".legend [data-g]")
    assert any("unknown object" in chip.text for chip in chips)
    chip, other = chips[0], chips[-1]
    group = chip.get_attribute("data-g")
    points = find(page, "svg.panel .points")[0]
    press(page, chip)
    assert chip.get_attribute("aria-pressed") == "true"
    lit = [use.get_attribute("href") for use in find(page, "use.over") if use.get_attribute("href")]
    assert lit
    assert all(href.endswith(f"-{group}") for href in lit)
    assert find(page, ".now")[0].text == chip.get_attribute("data-name")
    page.execute_script("arguments[0].style.transition = 'none'", points)
    assert float(points.value_of_css_property("opacity")) < 0.3
    press(page, other)
    assert [c.get_attribute("aria-pressed") for c in (chip, other)] == ["false", "true"]
    find(page, "body")[0].send_keys(Keys.ESCAPE)
    assert other.get_attribute("aria-pressed") == "false"
    assert not [use for use in find(page, "use.over") if use.get_attribute("href")]
    assert find(page, ".now")[0].text == "All objects"


def test_the_unknown_objects_come_after_the_summary_with_signed_bars(page):
    sections = [section.get_attribute("id") for section in find(page, "main > section")]
    assert sections[:2] == ["summary", "unknown"]
    parts = page.execute_script(
        "return [...document.querySelectorAll(arguments[0] + ' .parts li')].filter(e => e.offsetHeight > 0).map(e => "
        "[e.querySelector('b').textContent, e.classList.contains('against'), e.querySelector('i').offsetWidth])",
        TABLE,
    )
    assert parts
    for number, against, _ in parts:
        assert number[0] == ("−" if against else "+")
    size = [float(number.replace("−", "-").lstrip("+")) for number, _, _ in parts]
    longest = max(width for _, _, width in parts)
    for value, (_, _, width) in zip(size, parts, strict=True):
        if abs(value) > 0.6 * max(map(abs, size)):
            assert width > 0.4 * longest


def test_smaller_prototypes_are_folded(page):
    (fold,) = find(page, ".small-ones > summary")
    folded = find(page, ".small-ones .card")
    assert len([card for card in find(page, ".card") if card.is_displayed()]) == 30 - len(folded) <= 24
    press(page, fold)
    assert all(card.is_displayed() for card in find(page, ".card"))


def test_cards_can_be_those_of_one_class(page):
    whole, *picks = find(page, ".pick")
    for c, pick in enumerate(picks):
        press(page, pick)
        cards = [card for card in find(page, ".card") if card.is_displayed()]
        assert {card.get_attribute("data-class") for card in cards} <= {str(c)}
        assert len(cards) == int(pick.text.split()[-1])
    press(page, whole)
    assert len(find(page, ".card")) == int(whole.text.split()[-1]) == sum(int(pick.text.split()[-1]) for pick in picks)
    assert not find(page, ".small-ones .card")[0].is_displayed()


def test_the_skip_link_is_first_and_paper_shows_all_of_a_card(page):
    from selenium.webdriver.common.keys import Keys

    find(page, "body")[0].send_keys(Keys.TAB)
    assert page.switch_to.active_element.get_attribute("class") == "skip"
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    heights = page.execute_script("return [...document.querySelectorAll('details ul')].map(e => e.offsetHeight)")
    assert np.all(np.array(heights) > 0)
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
