// A text console: xterm.js on a Channel. Bytes go through as they are; what was written stays when the session comes back.

import { FitAddon } from "./vendor/xterm/addon-fit.mjs";
import { Terminal } from "./vendor/xterm/xterm.mjs";

export class View {
  constructor(target, wishes) {
    this.channel = null;
    this.terminal = new Terminal({ cursorBlink: true, disableStdin: wishes.viewOnly, scrollback: 5000 });
    this.ready = this.draw(target);
    const encoder = new TextEncoder();
    this.terminal.onData((text) => this.channel?.send(encoder.encode(text)));
    this.terminal.onBinary((text) => this.channel?.send(Uint8Array.from(text, (c) => c.charCodeAt(0))));
  }

  async draw(target) {
    await styled(new URL("./vendor/xterm/xterm.css", import.meta.url));
    const fit = new FitAddon();
    this.terminal.loadAddon(fit);
    this.terminal.open(target);
    fit.fit();
    new ResizeObserver(() => fit.fit()).observe(target);
  }

  async take(channel) {
    await this.ready;
    this.channel = channel;
    channel.onmessage = (event) => this.terminal.write(new Uint8Array(event.data));
    this.terminal.focus();
  }

  lost() {
    this.channel = null;
  }
}

function styled(url) {
  return new Promise((resolve, reject) => {
    const link = document.createElement("link");
    Object.assign(link, { rel: "stylesheet", href: url, onload: resolve, onerror: reject });
    document.head.append(link);
  });
}
