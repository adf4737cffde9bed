// A graphical console: noVNC on a Channel, with the buttons that only a screen has.

import RFB from "./vendor/novnc/core/rfb.js";

export function show(channel, target, said, wishes) {
  const rfb = new RFB(target, channel, { shared: true });
  rfb.viewOnly = said.view_only || wishes.viewOnly;
  rfb.scaleViewport = true;
  rfb.showDotCursor = wishes.showDot;
  rfb.background = "transparent";
  const button = (id, act) => {
    const element = document.getElementById(id);
    element.hidden = rfb.viewOnly && id !== "scale";
    element.onclick = () => { act(element); rfb.focus(); };
  };
  button("cad", () => rfb.sendCtrlAltDel());
  button("scale", (element) => {
    rfb.scaleViewport = !rfb.scaleViewport;
    element.setAttribute("aria-pressed", String(rfb.scaleViewport));
  });
  button("paste", () => ask((text) => rfb.clipboardPasteFrom(text)));
  return new Promise((resolve) => rfb.addEventListener("connect", () => { rfb.focus(); resolve(); }));
}

function ask(then) {
  const dialog = document.getElementById("clipboard");
  const text = document.getElementById("text");
  dialog.onclose = () => {
    if (dialog.returnValue === "send") then(text.value);
    text.value = "";
  };
  dialog.showModal();
}
