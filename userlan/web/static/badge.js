// Unread messages and offered files in the tab's title and its icon.

import { t } from "./strings.js";

/** Keeps title and icon as the store is. */
export function badge(store) {
  const update = () => {
    const offers = [...store.get("transfers").values()].filter((transfer) => transfer.direction === "in" && transfer.state === "offered");
    const count = store.unread() + offers.length;
    const title = count > 0 ? t("app.unread-title", { n: count }) : t("app.title");
    if (document.title !== title) document.title = title;
    const icon = document.getElementById("favicon");
    const wanted = count > 0 ? "logo-unread.svg" : "logo.svg";
    if (icon.getAttribute("href") !== wanted) icon.setAttribute("href", wanted);
  };
  store.on(["conversations", "transfers"], update);
  update();
}
