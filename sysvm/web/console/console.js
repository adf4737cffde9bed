// The console page. Its address brings a ticket that works once; the page takes it out of the address bar, shows it to the
// proxy, and then draws the kind of console that the proxy names. States (body[data-state]): opening, open, away, ended.

import { Session } from "./session.js";

const VIEWS = { vnc: () => import("./screen.js"), text: () => import("./text.js") };
const query = new URLSearchParams(location.search);
const secure = location.protocol === "https:";
const wishes = {
  showDot: query.get("show_dot") === "true", viewOnly: query.get("view_only") === "true",
  keyboard: query.get("language") ?? "",
};
const element = (id) => document.getElementById(id);

function says(state, text) {
  document.body.dataset.state = state;
  element("status").textContent = text || (state === "open" && !secure ? "not encrypted: not for production" : "");
}

function take(name) {
  const value = query.get(name) ?? "";
  query.delete(name);
  history.replaceState(null, "", `${location.pathname}?${query}`);
  return value;
}

function home() {
  const port = Number(query.get("port")) || (secure ? 8443 : 8080);
  return `${secure ? "wss" : "ws"}://${location.hostname}:${port}/websockify`;
}

async function view(said) {
  document.title = said.name;
  element("name").textContent = said.name;
  const { View } = await (VIEWS[said.kind] ?? VIEWS.vnc)();
  return new View(element("screen"), { ...wishes, viewOnly: said.view_only || wishes.viewOnly });
}

function measured(ms) {
  element("trip").textContent = `${Math.max(1, Math.round(ms))} ms`;
}

element("full").onclick = () => {
  if (document.fullscreenElement) document.exitFullscreen();
  else document.documentElement.requestFullscreen();
};

const ticket = take("token");
if (ticket) new Session(home(), { view, says, measured }).open(ticket);
else says("ended", "This page was opened without a ticket: open the console again from the list of machines.");
