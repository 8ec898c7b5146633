"""The node's page in a real browser, and what it costs there: tasks that keep it from drawing, frames that are late, processor time.

A task's length is told twice: by the clock, which a computer with other work stretches, and by the processor time of its thread, which it
does not: only what is long by both is the page's own doing. The second is known from the browser's trace.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from typing import Any

FLAGS = ("--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update", "--no-proxy-server")
PATIENCE = 240_000
"""Milliseconds for a page to show all."""
WATCH = """() => {
  const seen = { tasks: [], frames: [], last: performance.now() };
  window.seen = seen;
  new PerformanceObserver((list) => seen.tasks.push(...list.getEntries().map((one) => one.duration))).observe({ type: "longtask" });
  const frame = (now) => { seen.frames.push(now - seen.last); seen.last = now; requestAnimationFrame(frame); };
  requestAnimationFrame(frame);
}"""
TAKE = "() => { const told = { tasks: seen.tasks, frames: seen.frames }; seen.tasks = []; seen.frames = []; return told; }"
TRACED = ["__metadata", "toplevel", "devtools.timeline", "disabled-by-default-devtools.timeline"]
"""What the browser writes down, one task of its event loop a line."""
MAIN_THREAD, TASK = "CrRendererMain", "RunTask"
LONG = 50.0
"""Milliseconds from which on a task is a long one (W3C Long Tasks API)."""
LATE = 50.0
"""Milliseconds between two frames from which on a person sees that it stumbles: three frames of sixty a second."""
STEP, WHEEL = 0.1, 240
"""Seconds between two turns of the wheel, and how far each goes, in pixels of the page."""


def missing_browser() -> str | None:
    """Why there is no page to look at here, or None."""
    if importlib.util.find_spec("playwright") is None:
        return "needs playwright"
    return None if _chromium() else "needs chromium"


def _chromium() -> str | None:
    return next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)


class Browser:
    """One page, open at a node's address; it shows ``members``."""

    def __init__(self, url: str, members: int) -> None:
        self._url, self._members = url, members
        self._playwright: Any = None
        self._browser: Any = None
        self._page: Any = None
        self._metrics: Any = None
        self._busy = 0.0

    def __enter__(self) -> Browser:
        from playwright.sync_api import sync_playwright

        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(executable_path=_chromium(), args=list(FLAGS))
        self._page = self._browser.new_page(viewport={"width": 1180, "height": 760})
        self._page.set_default_timeout(PATIENCE)
        self._page.goto(self._url)
        self._page.wait_for_function("(count) => document.querySelectorAll('.row').length === count", arg=self._members)
        self._metrics = self._page.context.new_cdp_session(self._page)
        self._metrics.send("Performance.enable", {"timeDomain": "threadTicks"})
        self._page.evaluate(WATCH)
        return self

    def __exit__(self, *_: object) -> None:
        self._browser.close()
        self._playwright.stop()

    def begin(self) -> None:
        """What was until now does not count."""
        self._browser.start_tracing(page=self._page, categories=TRACED)
        self._page.evaluate(TAKE)
        self._busy = self._task_seconds()

    def end(self, seconds: float) -> dict[str, float]:
        """Since ``begin``: the main thread's processor time in per cent of a core; tasks above 50 ms by the clock, and by their own
        processor time; frames that came late."""
        seen, busy = self._page.evaluate(TAKE), self._task_seconds() - self._busy
        own = task_times(self._browser.stop_tracing())
        return {
            "page_cpu": busy / seconds * 100, "long_tasks": len(seen["tasks"]), "longest_task": max(seen["tasks"], default=0.0),
            "long_by_cpu": sum(task > LONG for task in own), "longest_by_cpu": max(own, default=0.0),
            "late_frames": sum(frame > LATE for frame in seen["frames"]), "longest_frame": max(seen["frames"], default=0.0),
        }

    def scroll(self, seconds: float) -> None:
        """The wheel is turned over the list, down and up."""
        box = self._page.locator(".roster").bounding_box()
        self._page.mouse.move(box["x"] + box["width"] / 2, 300)
        for turn in range(max(2, int(seconds / STEP))):
            self._page.mouse.wheel(0, WHEEL if turn // 40 % 2 == 0 else -WHEEL)
            self._page.wait_for_timeout(STEP * 1000)

    def _task_seconds(self) -> float:
        metrics = {one["name"]: one["value"] for one in self._metrics.send("Performance.getMetrics")["metrics"]}
        return float(metrics["TaskDuration"])


def task_times(trace: bytes) -> list[float]:
    """The processor time of each task of the pages' main threads, in milliseconds."""
    events = json.loads(trace)["traceEvents"]
    threads = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"].get("name") == MAIN_THREAD
    }
    tasks = (event for event in events if event["name"] == TASK and (event["pid"], event["tid"]) in threads)
    return [event["tdur"] / 1000 for event in tasks if "tdur" in event]
