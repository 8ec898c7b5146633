// The node's commands over one WebSocket. It reconnects by itself, and asks again for every stream that is still wanted.

const FIRST_DELAY = 500; // milliseconds until the first new attempt; doubled for each that fails
const LONGEST_DELAY = 8000; // milliseconds: a person who started the node again does not wait longer
const PATIENCE = 60_000; // milliseconds that a command may take; a stream has no end

/** The node's answer was no: `message` says why, in one line. */
export class CommandError extends Error {}

/** There is no connection to the node. */
export class ConnectionError extends Error {}

class Api {
  #socket = null;
  #number = 0;
  #asked = new Map(); // number → {item, done, error, timer?}
  #streams = new Set();
  #waiting = []; // commands asked for before the connection is there
  #delay = FIRST_DELAY;
  #timer = null;
  #watcher = () => {};

  /** Connects; `watcher(state)` is told of every change: connecting, live, lost, refused. */
  start(watcher) {
    this.#watcher = watcher;
    addEventListener("online", () => this.retry());
    document.addEventListener("visibilitychange", () => document.hidden || this.retry());
    this.#connect();
  }

  /** Tries at once, where it would wait. */
  retry() {
    if (this.#timer === null) return;
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#connect();
  }

  /** Asks for a command; its answer, or a CommandError. */
  call(command, args = {}) {
    return new Promise((resolve, reject) => {
      let last = null;
      const ask = {
        command,
        args,
        item: (item) => (last = item),
        done: (answer) => resolve(answer ?? last),
        error: (message) => reject(new CommandError(message)),
        lost: () => reject(new ConnectionError("the connection to the node was lost")),
      };
      ask.timer = setTimeout(() => {
        this.#callOff(ask);
        reject(new CommandError(`no answer to ${command} in time`));
      }, PATIENCE);
      if (this.#open()) this.#send(ask);
      else this.#waiting.push(ask);
    });
  }

  /**
   * Asks for a command that goes on: `onItem(item)` for each item, `onEnd(error or null)` when the node ends it. After a lost connection it is
   * asked for again, unless `once`. Returns what cancels it.
   */
  stream(command, args, onItem, { onEnd = () => {}, once = false } = {}) {
    const stream = { command, args };
    const end = (error) => {
      this.#streams.delete(stream);
      onEnd(error);
    };
    stream.item = onItem;
    stream.done = () => end(null);
    stream.error = (message) => end(new CommandError(message));
    stream.lost = () => once && end(new ConnectionError("the connection to the node was lost"));
    this.#streams.add(stream);
    if (this.#open()) this.#send(stream);
    return () => this.#streams.delete(stream) && this.#callOff(stream);
  }

  #open() {
    return this.#socket !== null && this.#socket.readyState === WebSocket.OPEN;
  }

  #send(ask) {
    this.#number += 1;
    this.#asked.set(this.#number, ask);
    this.#socket.send(JSON.stringify({ id: this.#number, command: ask.command, arguments: ask.args }));
  }

  /** Nobody waits for it any more, and the node need not work at it. */
  #callOff(ask) {
    this.#waiting = this.#waiting.filter((other) => other !== ask);
    for (const [number, asked] of this.#asked) {
      if (asked !== ask) continue;
      this.#asked.delete(number);
      if (this.#open()) this.#socket.send(JSON.stringify({ id: number, cancel: true }));
    }
  }

  #connect() {
    const address = new URL("socket", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    address.hash = "";
    address.search = "";
    const socket = new WebSocket(address);
    this.#socket = socket;
    socket.addEventListener("open", () => this.#opened());
    socket.addEventListener("message", (event) => this.#received(event.data));
    socket.addEventListener("close", () => this.#closed(socket));
  }

  #opened() {
    this.#delay = FIRST_DELAY;
    this.#watcher("live");
    for (const stream of this.#streams) this.#send(stream);
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const ask of waiting) this.#send(ask);
  }

  #received(data) {
    const message = JSON.parse(data);
    const ask = this.#asked.get(message.id);
    if (ask === undefined) return;
    if ("item" in message) {
      ask.item(message.item);
      return;
    }
    this.#asked.delete(message.id);
    clearTimeout(ask.timer);
    if ("error" in message) ask.error(message.error);
    else ask.done(message.done);
  }

  async #closed(socket) {
    if (this.#socket !== socket) return;
    this.#socket = null;
    const asked = [...this.#asked.values()];
    this.#asked.clear();
    for (const ask of asked) {
      clearTimeout(ask.timer);
      ask.lost();
    }
    this.#watcher("lost");
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#connect();
    }, this.#delay);
    this.#delay = Math.min(this.#delay * 2, LONGEST_DELAY);
    if ((await this.#refused()) && !this.#open()) this.#watcher("refused");
  }

  /** Whether the node is there, and this browser has no session (any more). */
  async #refused() {
    try {
      const answer = await fetch("./", { cache: "no-store", method: "HEAD" });
      return answer.status === 401 || answer.status === 403;
    } catch {
      return false;
    }
  }
}

export const api = new Api();
