// What has to be said above everything: the node does not answer, the session is over, the mediator is away.

import { announce, button, fill, h } from "./dom.js";
import { icon } from "./icons.js";
import { t } from "./strings.js";

const GRACE = 4000; // milliseconds without a mediator or a node before it is worth a word

/** The banner, empty where all is well. */
export function banner({ api, store }) {
  const element = h("div", { class: "banner", role: "alert", hidden: true });
  let lost = false;
  let timer = null;

  const show = (kind, ...content) => {
    element.hidden = false;
    element.dataset.kind = kind;
    fill(element, icon("warning"), content);
  };

  function update() {
    const connection = store.get("connection");
    const mediator = store.get("mediator");
    clearTimeout(timer);
    if (connection === "refused") {
      refused();
    } else if (connection === "lost") {
      lost = true;
      show("lost", h("span", null, t("connection.lost")), button(t("connection.retry"), () => api.retry()));
    } else {
      element.hidden = true;
      if (lost && connection === "live") {
        lost = false;
        announce(t("connection.back"));
      }
      if (mediator && mediator.state !== "connected" && mediator.state !== "none") timer = setTimeout(away, GRACE, mediator);
    }
  }

  function away(mediator) {
    show("mediator", h("span", null, mediator.reason ? t("connection.mediator.reason", { reason: mediator.reason }) : t("connection.mediator")));
  }

  function refused() {
    show("refused", h("strong", null, t("connection.refused.title")), h("span", null, t("connection.refused.words")), h("code", null, "userlan open"));
  }

  store.on(["connection", "mediator"], update);
  return element;
}
