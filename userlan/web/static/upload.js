// Files from the browser to one's own node, which offers them to the member. A browser cannot name a path: so the octets go to the node first.

import { h } from "./dom.js";
import { t } from "./strings.js";
import { failed, toast } from "./toast.js";

const GIVEN_UP = new Error("given up");

let number = 0;

/** Lets the person choose files, and sends them. The input is in the page as long as its dialog: one that nobody holds may be collected. */
export function chooseFiles(context, key) {
  const input = h("input", { type: "file", multiple: true, hidden: true });
  input.addEventListener("change", () => {
    input.remove();
    sendFiles(context, key, [...input.files]);
  });
  input.addEventListener("cancel", () => input.remove());
  document.body.append(input);
  input.click();
}

/** Sends files to a member, one after the other. */
export async function sendFiles(context, key, files) {
  const { store, open } = context;
  if (files.length === 0) return;
  open("files", { peer: key });
  let count = 0;
  for (const file of files) {
    try {
      await upload(context, key, file);
      count += 1;
    } catch (error) {
      if (error === GIVEN_UP) continue;
      failed(new Error(t("files.upload-failed", { file: file.name, why: error.message })));
    }
  }
  if (count > 0) toast(t("files.sent", { n: count, name: store.nameOf(key) }));
}

function upload({ store }, key, file) {
  number += 1;
  const id = `upload ${number}`;
  const request = new XMLHttpRequest();
  const shown = { id, cancel: () => request.abort(), peer: key, name: store.nameOf(key), file: file.name, size: file.size, done: 0, direction: "out", state: "uploading", time: Date.now() / 1000 };
  store.patch("uploads", { [id]: shown });
  return new Promise((resolve, reject) => {
    const address = new URL("upload", location.href);
    address.hash = "";
    address.search = new URLSearchParams({ to: key, name: file.name });
    request.open("POST", address);
    request.upload.addEventListener("progress", (event) => store.patch("uploads", { [id]: { ...shown, done: event.loaded } }));
    request.addEventListener("load", () => (request.status < 300 ? resolve() : reject(new Error(reason(request)))));
    request.addEventListener("error", () => reject(new Error(t("connection.lost"))));
    request.addEventListener("abort", () => reject(GIVEN_UP));
    request.send(file);
  }).finally(() => store.patch("uploads", { [id]: null }));
}

function reason(request) {
  try {
    return JSON.parse(request.responseText).error ?? request.statusText;
  } catch {
    return request.responseText.slice(0, 200) || request.statusText;
  }
}
