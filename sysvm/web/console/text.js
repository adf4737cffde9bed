// A text console: xterm.js on a Channel. Bytes go through as they are.

import { FitAddon } from "./vendor/xterm/addon-fit.mjs";
import { Terminal } from "./vendor/xterm/xterm.mjs";

export async function show(channel, target, said, wishes) {
  await styled(new URL("./vendor/xterm/xterm.css", import.meta.url));
  const terminal = new Terminal({ cursorBlink: true, disableStdin: said.view_only || wishes.viewOnly, scrollback: 5000 });
  const fit = new FitAddon();
  terminal.loadAddon(fit);
  terminal.open(target);
  fit.fit();
  new ResizeObserver(() => fit.fit()).observe(target);
  const encoder = new TextEncoder();
  terminal.onData((text) => channel.send(encoder.encode(text)));
  terminal.onBinary((text) => channel.send(Uint8Array.from(text, (c) => c.charCodeAt(0))));
  channel.onmessage = (event) => terminal.write(new Uint8Array(event.data));
  terminal.focus();
}

function styled(url) {
  return new Promise((resolve, reject) => {
    const link = document.createElement("link");
    Object.assign(link, { rel: "stylesheet", href: url, onload: resolve, onerror: reject });
    document.head.append(link);
  });
}
