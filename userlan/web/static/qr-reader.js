// An invite's QR code, read from a picture (pasted, dropped or chosen) or from the camera: the node looks at the picture's grey, and the link is
// written into the form. Nobody joins before the person says so.

import { button, fill, h } from "./dom.js";
import { icon } from "./icons.js";
import { t } from "./strings.js";

const MOST_SIDE = 1600; // pixels of a picture that the node looks at: enough for a code across a room
const CAMERA_SIDE = 960;
const CAMERA_PAUSE = 250; // milliseconds between two looks through the camera
const CAMERA_PATIENCE = 120_000; // milliseconds until a camera that sees no code is switched off
const BUSY = 503;
const BUSY_PAUSE = 400; // milliseconds
const TRIALS = 15; // six seconds: twice what the hardest picture takes

/** The part of a dialog that reads codes. `found(link)`: the one invite that was seen; what is to be said then. `attach()` once the dialog is open. */
export function qrReader(found) {
  const input = h("input", { type: "file", accept: "image/*", hidden: true, on: { change: () => chosen() } });
  const choose = button(t("qr.picture"), () => input.click(), { icon: icon("qr"), kind: "small-words" });
  const see = button(t("qr.camera"), () => (camera ? stop() : start()), { icon: icon("camera"), kind: "small-words", hidden: true });
  const view = h("video", { class: "camera", muted: true, playsinline: true, hidden: true, "aria-label": t("qr.camera.view") });
  const said = h("p", { class: "quiet", role: "status" }, t("qr.hint"));
  const element = h("div", { class: "qr-reader" }, h("div", { class: "buttons" }, choose, see, input), view, said);
  const over = new AbortController(); // aborted when the dialog closes
  let last = Promise.resolve();
  let camera = null; // {stream}: of the camera that is on, or that was asked for

  function attach() {
    const dialog = element.closest("dialog");
    const { signal } = over;
    dialog.addEventListener("close", () => {
      over.abort();
      stop();
    });
    document.addEventListener("paste", (event) => {
      const [picture] = pictures(event.clipboardData);
      if (!picture) return; // text goes into the field
      event.preventDefault();
      read(picture);
    }, { signal });
    dialog.addEventListener("dragover", (event) => {
      if (!event.dataTransfer.types.includes("Files")) return;
      event.preventDefault();
      event.stopPropagation(); // else the window says that a file is sent to nobody here
      event.dataTransfer.dropEffect = "copy";
    });
    dialog.addEventListener("drop", (event) => {
      if (!event.dataTransfer.types.includes("Files")) return;
      event.preventDefault();
      event.stopPropagation();
      const [picture] = pictures(event.dataTransfer);
      if (picture) read(picture);
      else say(t("qr.no-picture"));
    });
    hasCamera().then((there) => (see.hidden = !there));
  }

  function chosen() {
    const [picture] = input.files;
    if (picture) read(picture);
    input.value = ""; // the same one may be chosen again
  }

  async function read(picture) {
    stop(null);
    say(t("qr.looking"));
    let bitmap = null;
    try {
      bitmap = await createImageBitmap(picture);
    } catch {
      say(t("qr.no-picture"));
      return;
    }
    try {
      tell(await next(grey(bitmap, bitmap.width, bitmap.height, MOST_SIDE)));
    } catch (error) {
      failed(error);
    } finally {
      bitmap.close();
    }
  }

  /** Has the node look, at one picture after the other. */
  function next(picture) {
    const looked = last.then(() => look(picture, over.signal));
    last = looked.catch(() => {});
    return looked;
  }

  /** Says what was found; true where it was one invite. */
  function tell({ codes, links }) {
    if (links.length === 1) {
      say(found(links[0]));
      return true;
    }
    say(links.length > 1 ? t("qr.several") : codes > 0 ? t("qr.not-a-link") : t("qr.nothing"));
    return false;
  }

  async function start() {
    const mine = { stream: null };
    camera = mine;
    say(t("qr.camera.asking"));
    try {
      mine.stream = await navigator.mediaDevices.getUserMedia({ audio: false, video: { facingMode: "environment", width: { ideal: 1280 } } });
    } catch (error) {
      if (camera === mine) stop(error.name === "NotAllowedError" ? t("qr.camera.denied") : t("qr.camera.none"));
      return;
    }
    if (camera !== mine) { // switched off, or the dialog closed, while the person was asked
      end(mine.stream);
      return;
    }
    see.lastChild.textContent = t("qr.camera.stop");
    view.hidden = false;
    view.srcObject = mine.stream;
    say(t("qr.camera.hold"));
    await watch(mine);
  }

  /** Looks until it sees an invite, is switched off, or has seen none for long. */
  async function watch(mine) {
    const until = performance.now() + CAMERA_PATIENCE;
    try {
      await view.play();
      while (camera === mine && performance.now() < until) {
        const { codes, links } = await next(grey(view, view.videoWidth, view.videoHeight, CAMERA_SIDE));
        if (camera !== mine) return;
        if (codes > 0 && tell({ codes, links })) {
          stop(null);
          return;
        }
        await pause(CAMERA_PAUSE);
      }
      if (camera === mine) stop(t("qr.camera.long"));
    } catch (error) {
      if (camera !== mine) return;
      stop(null);
      failed(error);
    }
  }

  /** Switches the camera off. Idempotent. `words`: what is said then. */
  function stop(words = t("qr.hint")) {
    const mine = camera;
    camera = null;
    if (mine === null) return;
    if (mine.stream) end(mine.stream);
    view.srcObject = null;
    view.hidden = true;
    see.lastChild.textContent = t("qr.camera");
    if (words) say(words);
  }

  function failed(error) {
    if (error.name !== "AbortError") say(error.message);
  }

  function say(words) {
    fill(said, words);
  }

  return { element, attach };
}

function end(stream) {
  for (const track of stream.getTracks()) track.stop();
}

function pictures(transfer) {
  return [...(transfer?.files ?? [])].filter((file) => file.type.startsWith("image/"));
}

async function hasCamera() {
  if (!navigator.mediaDevices?.getUserMedia) return false; // an address that the browser does not trust with one
  return (await navigator.mediaDevices.enumerateDevices().catch(() => [])).some((device) => device.kind === "videoinput");
}

/** A picture's brightness, an octet a pixel, row by row, with no side longer than `most`; what is transparent is white. */
function grey(source, width, height, most) {
  const scale = Math.min(1, most / Math.max(width, height));
  const [wide, high] = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
  const canvas = h("canvas", { width: wide, height: high });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, wide, high);
  context.drawImage(source, 0, 0, wide, high);
  const { data } = context.getImageData(0, 0, wide, high);
  const octets = new Uint8Array(wide * high);
  for (let at = 0, from = 0; at < octets.length; at += 1, from += 4) {
    octets[at] = (77 * data[from] + 151 * data[from + 1] + 28 * data[from + 2]) >> 8; // luma (ITU-R BT.601)
  }
  return { octets, width: wide, height: high };
}

/** Has the node look; `{codes, links}`. It looks at one picture at a time, and another window may have it look at one. */
async function look({ octets, width, height }, signal) {
  for (let trial = 1; ; trial += 1) {
    let answer;
    try {
      answer = await fetch(`scan?${new URLSearchParams({ width, height })}`, { method: "POST", body: octets, signal });
    } catch (error) {
      throw error.name === "AbortError" ? error : new Error(t("connection.lost"));
    }
    if (answer.ok) return answer.json();
    if (answer.status !== BUSY || trial === TRIALS) throw new Error((await answer.text()).slice(0, 200));
    await pause(BUSY_PAUSE);
  }
}

function pause(time) {
  return new Promise((resolve) => setTimeout(resolve, time));
}
