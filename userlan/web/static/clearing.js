// What a menu offers for a conversation as a whole: quiet, and one's own copy of it gone, after a question.

import { confirm } from "./dialog.js";
import { t } from "./strings.js";
import { failed } from "./toast.js";

/** The items of a menu, where there is anything to clear or to keep quiet. */
export function clearItem({ api, store }, id) {
  if (!store.get("conversations").get(id)?.last) return [];
  const run = async () => {
    if (!(await confirm(t("chat.clear.title"), t("chat.clear.words"), t("chat.clear.yes"), { danger: true }))) return;
    try {
      await api.call("chat-clear", { conversation: id });
    } catch (error) {
      failed(error);
      return;
    }
    cleared(store, id);
  };
  return [muteItem({ api }, id, store.get("conversations").get(id).muted), { label: t("menu.clear"), icon: "trash", run }];
}

/** A conversation has been cleared, here or by another window or command. */
export function cleared(store, id) {
  store.patch("history", { [id]: { messages: [], more: false } });
  store.patch("conversations", { [id]: null });
}

function muteItem({ api }, id, muted) {
  const run = () => api.call("chat-mute", { conversation: id, muted: !muted }).catch(failed);
  return { label: t(muted ? "menu.unmute" : "menu.mute"), icon: muted ? "bell" : "bell-off", run };
}
