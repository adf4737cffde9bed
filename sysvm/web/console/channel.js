// One websocket to a console proxy. Text frames are between this page and the proxy (subprotocol sysvm.console.1): the page
// shows its ticket in the first one, the proxy says what kind of console it is. Binary frames are the console's own bytes.
// To noVNC a Channel looks like an open WebSocket; bytes that come before somebody listens are kept for him.

const SUBPROTOCOL = "sysvm.console.1";

export class Channel {
  constructor(url, ticket, { opened, ended }) {
    this.binaryType = "arraybuffer";
    this.onopen = this.onerror = this.onclose = null;
    this.waiting = [];
    this.listener = null;
    this.socket = new WebSocket(url, [SUBPROTOCOL]);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => this.socket.send(JSON.stringify({ say: "open", ticket }));
    this.socket.onmessage = (event) => this.heard(event, opened);
    this.socket.onclose = (event) => {
      ended(event);
      this.onclose?.(event);
    };
  }

  heard(event, opened) {
    if (typeof event.data === "string") {
      const said = JSON.parse(event.data);
      if (said.say === "opened") opened(said);
    } else if (this.listener) {
      this.listener(event);
    } else {
      this.waiting.push(event);
    }
  }

  get onmessage() { return this.listener; }
  set onmessage(listener) {
    this.listener = listener;
    // noVNC listens first and is ready a moment later, still before the next event.
    queueMicrotask(() => this.waiting.splice(0).forEach((event) => this.listener?.(event)));
  }

  get protocol() { return this.socket.protocol; }
  get readyState() { return this.socket.readyState; }
  send(data) { this.socket.send(data); }
  close(code, reason) { this.socket.close(code, reason); }
}
