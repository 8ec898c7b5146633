// One's own copy of a conversation goes, after a question.

import { confirm } from "./dialog.js";
import { t } from "./strings.js";
import { failed } from "./toast.js";

/** The item of a menu, where there is anything to clear. */
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
    store.patch("history", { [id]: { messages: [], more: false } });
    store.patch("conversations", { [id]: null });
  };
  return [{ label: t("menu.clear"), icon: "trash", run }];
}
