// The console page. Its address brings a ticket that works once; the page takes it out of the address bar, shows it to the
// proxy, and then draws the kind of console that the proxy names. States (body[data-state]): opening, open, ended.

import { Channel } from "./channel.js";

const VIEWS = { vnc: () => import("./screen.js"), text: () => import("./text.js") };
const query = new URLSearchParams(location.search);
const secure = location.protocol === "https:";
const wishes = { showDot: query.get("show_dot") === "true", viewOnly: query.get("view_only") === "true" };

function say(state, text) {
  document.body.dataset.state = state;
  document.getElementById("status").textContent = text;
}

function take(name) {
  const value = query.get(name) ?? "";
  query.delete(name);
  history.replaceState(null, "", `${location.pathname}?${query}`);
  return value;
}

function address() {
  const port = Number(query.get("port")) || (secure ? 8443 : 8080);
  return `${secure ? "wss" : "ws"}://${location.hostname}:${port}/websockify`;
}

// noVNC takes its canvas away when it ends; the last picture stays instead.
function freeze(target) {
  const canvas = target.querySelector("canvas");
  if (!canvas || !canvas.width) return;
  const still = canvas.cloneNode();
  still.getContext("2d").drawImage(canvas, 0, 0);
  still.removeAttribute("tabindex");
  queueMicrotask(() => target.replaceChildren(still));
}

function start() {
  const ticket = take("token");
  if (!ticket) return say("ended", "This page was opened without a ticket: open the console again from the list of machines.");
  const target = document.getElementById("screen");
  const channel = new Channel(address(), ticket, {
    opened: async (said) => {
      document.title = said.name;
      document.getElementById("name").textContent = said.name;
      const view = await (VIEWS[said.kind] ?? VIEWS.vnc)();
      await view.show(channel, target, said, wishes);
      if (document.body.dataset.state === "opening") say("open", secure ? "" : "not encrypted: not for production");
    },
    ended: (event) => {
      freeze(target);
      say("ended", event.reason || "The connection to the console proxy was lost: open the console again.");
    },
  });
}

document.getElementById("full").onclick = () => {
  if (document.fullscreenElement) document.exitFullscreen();
  else document.documentElement.requestFullscreen();
};

start();
