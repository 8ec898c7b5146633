// Drag and drop: files onto a person in the list, or onto what is open with one.

import { t } from "./strings.js";
import { toast } from "./toast.js";
import { h } from "./dom.js";
import { sendFiles } from "./upload.js";

/** Listens for files that are dragged over the window. */
export function drops(context) {
  const { store } = context;
  const veil = h("div", { class: "drop-veil", hidden: true, "aria-hidden": "true" }, h("p"));
  document.body.append(veil);
  let marked = null;

  function target(event) {
    const row = event.target.closest?.("[data-peer]");
    if (row) return { key: row.dataset.peer, element: row };
    const { kind, id } = store.get("selection");
    const main = event.target.closest?.("main");
    if (!main) return null;
    return { key: kind === "peer" ? id : null, element: main };
  }

  function mark(found) {
    if (marked !== found?.element) {
      marked?.classList.remove("dropping");
      marked = found?.element ?? null;
      marked?.classList.add("dropping");
    }
    const inMain = marked?.localName === "main";
    veil.hidden = !inMain;
    if (!inMain) return;
    const box = marked.getBoundingClientRect();
    for (const side of ["left", "top", "width", "height"]) veil.style.setProperty(side, `${box[side]}px`);
    veil.firstChild.textContent = found.key ? t("files.drop", { name: store.nameOf(found.key) }) : t("files.drop.network");
  }

  const withFiles = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragover", (event) => {
    if (!withFiles(event)) return;
    event.preventDefault(); // else the browser would leave the page for the file
    const found = target(event);
    event.dataTransfer.dropEffect = found?.key ? "copy" : "none";
    mark(found);
  });
  addEventListener("dragleave", (event) => event.relatedTarget === null && mark(null));
  addEventListener("dragend", () => mark(null));
  addEventListener("drop", (event) => {
    if (!withFiles(event)) return;
    event.preventDefault();
    const found = target(event);
    mark(null);
    if (found?.key) dropped(context, found.key, event.dataTransfer);
    else if (found) toast(t("files.drop.network"), { problem: true });
  });
}

function dropped(context, key, transfer) {
  const folders = [...transfer.items].filter((item) => item.webkitGetAsEntry?.()?.isDirectory).map((item) => item.webkitGetAsEntry().name);
  if (folders.length > 0) toast(t("files.empty-folder"), { problem: true });
  sendFiles(context, key, [...transfer.files].filter((file) => !folders.includes(file.name)));
}
