// Copying with an answer: a word that it was done, or that this browser did not let it.

import { copy } from "./dom.js";
import { t } from "./strings.js";
import { toast } from "./toast.js";

/** Copies a text and tells so; `words`: instead of the text itself. */
export async function take(what, words = t("copied", { what })) {
  if (await copy(what)) toast(words);
  else toast(t("copy.failed"), { problem: true });
}
