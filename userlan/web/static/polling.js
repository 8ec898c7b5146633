// What the node does not tell by itself is asked for again and again, as long as somebody looks.

/** Runs `look` now, and `pause` milliseconds after each of its ends, while the page is visible. Answers `{stop, now}`. */
export function every(pause, look) {
  let timer = null;
  let running = false;
  let again = false;
  let stopped = false;

  async function run() {
    clearTimeout(timer);
    if (stopped) return;
    if (running) {
      again = true;
      return;
    }
    running = true;
    try {
      await look();
    } catch (error) {
      console.warn(error.message);
    }
    running = false;
    if (stopped) return;
    if (again) {
      again = false;
      run();
    } else {
      timer = setTimeout(() => document.hidden || run(), pause);
    }
  }

  const seen = () => document.hidden || run();
  document.addEventListener("visibilitychange", seen);
  run();
  return {
    now: run,
    stop() {
      stopped = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
    },
  };
}
