// What is said when it happens: to a screen reader, and as a toast where it is about something that is not on the screen.

import { announce } from "./dom.js";
import { milestones } from "./milestones.js";
import { t } from "./strings.js";
import { failed, toast } from "./toast.js";

const SPOKEN = 300; // characters of a message that are read out

/** Listens to what happens. */
export function heralds({ api, store, open }) {
  milestones.on("message", (message) => {
    if (message.own) return;
    announce(t("chat.said", { name: store.peer(message.from)?.name ?? message.name, text: message.text.slice(0, SPOKEN) }));
  });
  milestones.on("transfer", ({ id, direction, state, peer, file }) => {
    if (direction !== "in") return;
    const selection = store.get("selection");
    const here = selection.id === peer && (selection.view === "files" || selection.view === "chat");
    if (state === "offered") {
      const words = t("files.offered", { name: store.nameOf(peer), file });
      if (here) announce(words);
      else until(store, peer, toast(words, { action: { label: t("files.show"), run: () => open("files", { peer }) } }));
    } else if (state === "done" && here) {
      announce(t("files.came", { file }));
    } else if (state === "done") {
      toast(t("files.came", { file }), { action: { label: t("files.open"), run: () => api.call("files-open", { id }).catch(failed) } });
    }
  });
}

/** Takes a toast away when what it is about comes on the screen. */
function until(store, peer, leave) {
  const off = store.on("selection", () => {
    const { id, view } = store.get("selection");
    if (id !== peer || (view !== "files" && view !== "chat")) return;
    off();
    leave();
  });
}
