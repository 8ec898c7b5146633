// The keyboard in a tree, as the ARIA practices have it: one stop of the Tab key; arrows, Home, End, first letters; Enter; the menu key.

/** Makes `tree` move by keys. `toggle(item, fold)`, `activate(item)` and `menu(item)` do what the keys mean. */
export function moves(tree, { toggle, activate, menu }) {
  tree.addEventListener("focusin", (event) => {
    const item = event.target.closest("[role=treeitem]");
    if (event.target !== item) return;
    for (const other of tree.querySelectorAll("[role=treeitem][tabindex='0']")) if (other !== item) other.setAttribute("tabindex", "-1");
    item.setAttribute("tabindex", "0");
  });

  tree.addEventListener("keydown", (event) => {
    const item = event.target.closest("[role=treeitem]");
    if (event.target !== item || event.ctrlKey || event.metaKey || event.altKey) return;
    if (handled(item, event)) {
      event.preventDefault();
      event.stopPropagation();
    }
  });

  function handled(item, event) {
    const all = visible(tree);
    const index = all.indexOf(item);
    const to = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: all.length - 1 }[event.key];
    if (to !== undefined) return focus(all[Math.max(0, Math.min(to, all.length - 1))]);
    if (event.key === "ArrowRight" || event.key === "ArrowLeft") return sideways(item, (event.key === "ArrowRight") === (getComputedStyle(tree).direction !== "rtl"));
    if (event.key === "Enter" || event.key === " ") activate(item);
    else if (event.key === "ContextMenu" || (event.key === "F10" && event.shiftKey)) menu(item);
    else if (/^[\p{L}\p{N}]$/u.test(event.key) && !"nj".includes(event.key)) return letter(all, index, event.key);
    else return false;
    return true;
  }

  function sideways(item, inwards) {
    const expanded = item.getAttribute("aria-expanded");
    if (inwards) {
      if (expanded === "false") toggle(item, false);
      else if (expanded === "true") return focus(item.querySelector("[role=treeitem]"));
    } else if (expanded === "true") {
      toggle(item, true);
    } else {
      return focus(item.parentElement.closest("[role=treeitem]"));
    }
    return true;
  }
}

function visible(tree) {
  return [...tree.querySelectorAll("[role=treeitem]")].filter((item) => !item.parentElement.closest("[aria-expanded=false]"));
}

function focus(item) {
  item?.focus();
  return true;
}

function letter(all, index, key) {
  const wanted = key.toLocaleLowerCase();
  return focus([...all.slice(index + 1), ...all.slice(0, index)].find((item) => item.getAttribute("aria-label")?.toLocaleLowerCase().startsWith(wanted)));
}
