// The page's start: connects to the node, follows what changes, and opens the views.
//
// A view is a module with `mount(container, context)`, which answers what unmounts it. `context`: `api` (the node's commands), `store` (what is known),
// `open(view, params)` (goes to another view: chat, files, services, path, members, map, sharing, doctor, or list), and `params`: `{peer: KEY}`,
// `{network: NAME}`, or `{}` for this computer.

import { api } from "./api.js";
import { follow } from "./feed.js";
import { badge } from "./badge.js";
import { drops } from "./drop.js";
import { heralds } from "./heralds.js";
import { shortcuts } from "./keys.js";
import { invitation, open, route, start } from "./routes.js";
import { shell } from "./shell.js";
import { store } from "./store.js";

const context = { api, store, open, params: {} };

shell(document.getElementById("app"), context);
badge(store);
shortcuts(context);
drops(context);
heralds(context);
start();
follow(context);
invitation(context);
addEventListener("popstate", route);
addEventListener("hashchange", () => (route(), invitation(context)));
