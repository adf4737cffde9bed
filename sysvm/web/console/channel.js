// One websocket to a console proxy. Text frames are between this page and the proxy (subprotocol sysvm.console.1): the page
// shows its ticket, or the secret that it was given last, the proxy says what kind of console it is, and both beat. Binary
// frames are the console's own bytes. To noVNC a Channel looks like an open WebSocket; bytes that come before somebody
// listens are kept for him.
//
// A proxy that was killed closes nothing, so silence is what tells: nothing heard for two beats, and the channel has ended.
// A page in the background ticks late; whoever was asleep cannot complain of silence.

const SUBPROTOCOL = "sysvm.console.1";
const LATE = 2.5; // a tick that comes after so many beats was slept through

// The first of these addresses where a proxy answers; the other sockets are closed again.
export async function reach(addresses, patience) {
  const sockets = addresses.map((address) => new WebSocket(address, [SUBPROTOCOL]));
  const opens = sockets.map((socket) => new Promise((good, bad) => {
    socket.binaryType = "arraybuffer";
    socket.onopen = () => good(socket);
    socket.onerror = socket.onclose = bad;
    setTimeout(bad, patience);
  }));
  const winner = await Promise.any(opens).catch(() => null);
  for (const socket of sockets) {
    socket.onopen = socket.onerror = socket.onclose = null;
    if (socket !== winner) socket.close();
  }
  return winner;
}

export class Channel {
  // `key` is {say: "open", ticket} or {say: "resume", secret}; `hears` has opened, ended, move, measured.
  constructor(socket, key, hears) {
    this.binaryType = "arraybuffer";
    this.onopen = this.onerror = this.onclose = null;
    this.waiting = [];
    this.listener = null;
    this.hears = hears;
    this.socket = socket;
    this.trip = null;
    socket.onmessage = (event) => this.heard(event);
    socket.onclose = (event) => this.end(event);
    socket.send(JSON.stringify(key));
  }

  heard(event) {
    this.last = performance.now();
    if (typeof event.data === "string") this.told(JSON.parse(event.data));
    else if (this.listener) this.listener(event);
    else this.waiting.push(event);
  }

  told(said) {
    if (said.say === "opened") {
      this.beat(said.beat_ms);
      this.hears.opened(said);
    } else if (said.say === "beat" && said.n === this.beats) {
      this.trip = performance.now() - this.sent;
      this.hears.measured(this.trip);
    } else if (said.say === "move") {
      this.hears.move(said);
    }
  }

  beat(every) {
    this.beats = 0;
    this.sent = this.ticked = this.last = performance.now();
    this.timer = setInterval(() => {
      const now = performance.now();
      if (now - this.ticked > LATE * every) this.last = now;
      this.ticked = now;
      if (now - this.last > 2 * (every + (this.trip ?? 0))) return this.end({ code: 0, reason: "" });
      if (this.socket.readyState !== WebSocket.OPEN) return;
      this.beats += 1;
      this.sent = now;
      this.socket.send(JSON.stringify({ say: "beat", n: this.beats, round_trip_ms: this.trip }));
    }, every);
  }

  // Ended, by whichever side; told once.
  end(event) {
    if (!this.leave()) return;
    this.hears.ended(event);
    this.onclose?.(event);
  }

  // No more is heard from here; false when that was so before.
  leave() {
    if (this.gone) return false;
    this.gone = true;
    clearInterval(this.timer);
    this.socket.onmessage = this.socket.onclose = null;
    this.socket.close();
    return true;
  }

  get onmessage() { return this.listener; }
  set onmessage(listener) {
    this.listener = listener;
    // noVNC listens first and is ready a moment later, still before the next event.
    queueMicrotask(() => this.waiting.splice(0).forEach((event) => this.listener?.(event)));
  }

  get protocol() { return this.socket.protocol; }
  get readyState() { return this.gone ? WebSocket.CLOSED : this.socket.readyState; }
  send(data) { if (this.socket.readyState === WebSocket.OPEN) this.socket.send(data); }
  close() { this.leave(); }
}
