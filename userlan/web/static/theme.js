// Before the first paint: the colours that were chosen on this computer, if any were.
"use strict";
(() => {
  try {
    const chosen = localStorage.getItem("userlan.theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // Storage is switched off: the system's colours then.
  }
})();
