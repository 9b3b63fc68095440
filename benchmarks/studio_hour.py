"""Use the studio for a long time as two visitors would, and record its memory and its errors.

    python benchmarks/studio_hour.py [--actions 200] [--minutes 60] [--seed 0] [--log FILE]

The studio runs in its own process with the checkpoints of the project. Two pages of Chromium take
turns: they generate, stop, choose other models and conditions, use clips in other tabs, analyse,
watch, measure influence, reload, and open bad links. FILE receives one JSON document per action:
its name, the seconds it needed, the resident memory of the server in MB, the errors of the page and
the lines that the server logged. The last line on stdout is a summary; the exit code is 1 if an
action failed, or if a page or the server reported an error. Needs the packages of `make test`.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.ui.studio_process import FLAGS, find_browser, studio_process
from wavenet.bench.machine import describe_machine

ACTION_MS = 120_000  # longest time of one action
MODELS = ("digits", "strings", "vocoder")


def open_tab(page: Any, name: str) -> None:
    """Open a tab."""
    page.get_by_role("tab", name=name, exact=True).click()


def choose_model(page: Any, name: str) -> None:
    """Choose a model above the tabs, and wait until the page shows it."""
    page.click("#model input")
    page.get_by_role("option", name=name, exact=True).click()
    page.wait_for_function("n => document.querySelector('#model input').value === n", arg=name)


def wait_for_clip(page: Any, before: int) -> None:
    """Wait until the list of clips has changed or is full."""
    page.wait_for_function(
        "n => document.querySelectorAll('#history li').length !== n"
        " || document.querySelectorAll('#history li').length >= 60",
        arg=before,
    )


def clip_count(page: Any) -> int:
    """Return the number of listed clips."""
    return int(page.locator("#history li").count())


def generate(page: Any, choice: random.Random) -> None:
    """Generate a clip with the current model, or with digits if it needs a recording."""
    open_tab(page, "Generate")
    if page.input_value("#model input") == "vocoder":
        choose_model(page, "digits")
    page.fill("#seconds input", str(round(choice.uniform(0.1, 3), 2)))
    page.press("#seconds input", "Tab")
    before = clip_count(page)
    page.wait_for_selector("#generate:not([disabled])")
    page.click("#generate")
    wait_for_clip(page, before)


def stop(page: Any, choice: random.Random) -> None:
    """Start a long clip, and stop it."""
    open_tab(page, "Generate")
    if page.input_value("#model input") == "vocoder":
        choose_model(page, "digits")
    page.fill("#seconds input", "30")
    page.press("#seconds input", "Tab")
    before = clip_count(page)
    page.wait_for_selector("#generate:not([disabled])")
    page.click("#generate")
    page.wait_for_function(
        "document.querySelector('#live-player .status').textContent.startsWith('Playing')"
    )
    time.sleep(choice.uniform(0, 1))
    page.click("#stop")
    wait_for_clip(page, before)


def change_model(page: Any, choice: random.Random) -> None:
    """Choose another model."""
    choose_model(page, choice.choice([n for n in MODELS if n != page.input_value("#model input")]))


def analyse(page: Any, choice: random.Random) -> None:
    """Analyse the example, and wait for its score."""
    choose_model_if_needed(page)
    open_tab(page, "Analyse")
    page.click("#example")
    page.wait_for_function("document.querySelector('#score-facts')?.textContent.includes('Bits')")


def choose_model_if_needed(page: Any) -> None:
    """Choose digits if another model is chosen."""
    if page.input_value("#model input") != "digits":
        choose_model(page, "digits")


def watch(page: Any, choice: random.Random) -> None:
    """Watch the steps of a clip."""
    choose_model_if_needed(page)
    open_tab(page, "Watch sampling")
    page.fill("#watch-seed input", str(choice.randrange(1000)))
    page.press("#watch-seed input", "Tab")
    page.click("#watch-button")
    page.wait_for_selector("#step-viewer [data-state='ready']")


def again(page: Any, choice: random.Random) -> None:
    """Generate a listed clip again, or with the next seed."""
    name = choice.choice(("again", "next-seed"))
    buttons = page.locator(f"#history [data-action='{name}']")
    if not buttons.count():
        return
    before = clip_count(page)
    buttons.nth(choice.randrange(min(3, buttons.count()))).click()
    wait_for_clip(page, before)


def pin_and_delete(page: Any, choice: random.Random) -> None:
    """Delete a listed clip if there are many, or pin one."""
    name = "delete" if clip_count(page) > 20 else "pin"
    buttons = page.locator(f"#history [data-action='{name}']")
    if buttons.count():
        page.locator("#history details").first.evaluate("node => { node.open = true; }")
        buttons.first.click()
        time.sleep(1)


def reload(page: Any, choice: random.Random) -> None:
    """Reload the page, half of the time with a bad link."""
    address = page.url.split("?")[0]
    page.goto(address + choice.choice(("", "?checkpoint=nothing&seed=x&temperature=9e99")))
    page.wait_for_selector("#generate:not([disabled])", state="attached")


def bad_length(page: Any, choice: random.Random) -> None:
    """Try to generate with a length that is out of range, or empty."""
    open_tab(page, "Generate")
    choose_model_if_needed(page)
    page.fill("#seconds input", choice.choice(("99", "")))
    page.press("#seconds input", "Tab")
    page.wait_for_selector("#generate:not([disabled])")
    page.click("#generate")
    page.wait_for_selector(".toast-body", timeout=ACTION_MS)
    page.wait_for_selector("#generate:not([disabled])")


def look_around(page: Any, choice: random.Random) -> None:
    """Open the other tabs."""
    for name in ("Receptive field", "Train", "Models", "Generate"):
        open_tab(page, name)
        time.sleep(0.5)


ACTIONS: tuple[tuple[Callable[[Any, random.Random], None], int], ...] = (
    (generate, 8), (stop, 4), (change_model, 3), (analyse, 2), (watch, 2), (again, 4),
    (pin_and_delete, 2), (reload, 2), (bad_length, 1), (look_around, 2),
)  # fmt: skip


def resident_mb(process_id: int) -> float:
    """Return the resident memory of a process in MB."""
    fields = Path(f"/proc/{process_id}/statm").read_text().split()
    return int(fields[1]) * 4096 / 1e6


def server_process(port: int) -> int:
    """Return the id of the process that serves a port."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        words = path.read_bytes().split(b"\0")
        if str(port).encode() in words and b"ui" in words:
            return int(path.parent.name)
    raise SystemExit(f"no process serves port {port}")


def new_page(browser: Any, url: str, errors: list[str]) -> Any:
    """Open the studio as a visitor of its own; errors of its scripts are added to `errors`."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.set_default_timeout(ACTION_MS)
    page.on("pageerror", lambda error: errors.append(str(error)[:300]))
    page.goto(url)
    page.wait_for_selector("#generate:not([disabled])", state="attached")
    return page


def use_studio(browser: Any, url: str, options: argparse.Namespace, log: Any) -> dict[str, Any]:
    """Run the actions, one JSON document each, and return a summary."""
    choice, errors = random.Random(options.seed), list[str]()
    pages = [new_page(browser, url, errors) for _ in range(2)]
    process_id = server_process(int(url.rstrip("/").rpartition(":")[2]))
    began, memory, failed = time.monotonic(), list[float](), list[str]()
    names = Counter[str]()
    for number in range(options.actions):
        (action,) = choice.choices([a for a, _ in ACTIONS], [weight for _, weight in ACTIONS])
        started, before = time.monotonic(), len(errors)
        try:
            action(pages[number % 2], choice)
        except Exception as error:  # the browser has many errors; all are findings
            failed.append(f"{number} {action.__name__}: {str(error)[:200]}")
        names[action.__name__] += 1
        memory.append(resident_mb(process_id))
        entry = {"number": number, "action": action.__name__, "visitor": number % 2}
        entry |= {"seconds": round(time.monotonic() - started, 2), "resident_mb": memory[-1]}
        entry |= {"page_errors": errors[before:], "failed": failed[-1:] if failed else []}
        log.write(json.dumps(entry) + "\n")
        log.flush()
        due = began + 60 * options.minutes * (number + 1) / options.actions
        time.sleep(max(0.0, due - time.monotonic()))
    return {
        "actions": dict(names),
        "minutes": round((time.monotonic() - began) / 60, 1),
        "resident_mb": {"first": memory[0], "last": memory[-1], "highest": max(memory)},
        "failed": failed,
        "page_errors": errors,
        "machine": describe_machine(),
    }


def main() -> None:
    """Start the studio and the browser, and print the summary."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--actions", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", default="studio_hour.jsonl")
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, open(options.log, "w", encoding="utf-8") as log:
        root = Path(folder)
        (root / "checkpoints").symlink_to(Path(__file__).parents[1] / "checkpoints")
        with studio_process(root) as url, sync_playwright() as driver:
            autoplay = "--autoplay-policy=no-user-gesture-required"
            path = find_browser()
            browser = driver.chromium.launch(executable_path=path, args=[*FLAGS, autoplay])
            summary = use_studio(browser, url, options, log)
        logged = (root / "studio.log").read_text() if (root / "studio.log").is_file() else ""
        summary["server_errors"] = logged.count("Traceback")
    print(json.dumps(summary))
    sys.exit(bool(summary["failed"] or summary["page_errors"] or summary["server_errors"]))


if __name__ == "__main__":
    main()
