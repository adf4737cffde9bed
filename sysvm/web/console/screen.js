// A graphical console: noVNC on a Channel, with the buttons that only a screen has. Each attachment is an RFB session of its
// own in a layer of its own, hidden until its first picture is whole; the layer before it stays to be looked at till then.

import RFB from "./vendor/novnc/core/rfb.js";
import keysyms from "./vendor/novnc/core/input/keysymdef.js";
import { COMBINATIONS, NAMES, Translator, layoutOf, strokes } from "./keys.js";

const STROKES_AT_ONCE = 8; // a guest's keyboard buffer holds 16 bytes
const STROKE_PAUSE = 20;

const keysym = (point) => keysyms.lookup(point);

export class View {
  constructor(target, wishes) {
    Object.assign(this, { target, wishes, rfb: null, layer: null, scaled: true, held: [] });
    this.translator = new Translator(keysym, (...key) => this.rfb?.sendKey(...key));
    this.buttons();
    this.layouts();
  }

  async take(channel) {
    const layer = document.createElement("div");
    layer.className = "layer coming";
    this.target.append(layer);
    const rfb = new RFB(layer, channel, { shared: true });
    rfb.viewOnly = this.wishes.viewOnly;
    rfb.scaleViewport = this.scaled;
    rfb.showDotCursor = this.wishes.showDot;
    rfb.background = "transparent";
    this.translate(rfb);
    try {
      await firstPicture(rfb);
    } catch (error) {
      layer.remove();
      throw error;
    }
    this.swap(rfb, layer);
  }

  swap(rfb, layer) {
    const held = this.rfb ? keysOf(this.rfb) : this.held;
    this.rfb?.disconnect();
    this.layer?.remove();
    Object.assign(this, { rfb, layer, held: [] });
    layer.classList.remove("coming");
    for (const [code, keysym] of held) rfb.sendKey(keysym, code, false);
    rfb.focus();
  }

  // The connection is gone; noVNC takes its canvas away, so a still of it stays.
  lost() {
    if (!this.rfb) return;
    this.held = keysOf(this.rfb);
    const still = document.createElement("div");
    still.className = "layer";
    const canvas = this.layer.querySelector("canvas");
    if (canvas?.width) {
      const copy = canvas.cloneNode();
      copy.getContext("2d").drawImage(canvas, 0, 0);
      copy.removeAttribute("tabindex");
      still.append(copy);
    }
    this.layer.replaceWith(still);
    Object.assign(this, { rfb: null, layer: still });
  }

  buttons() {
    const element = (id) => document.getElementById(id);
    const act = (id, does) => {
      element(id).hidden = this.wishes.viewOnly && id !== "scale";
      element(id).onclick = () => { does(element(id)); this.rfb?.focus(); };
    };
    act("cad", () => this.rfb?.sendCtrlAltDel());
    act("scale", (button) => {
      this.scaled = !this.scaled;
      if (this.rfb) this.rfb.scaleViewport = this.scaled;
      button.setAttribute("aria-pressed", String(this.scaled));
    });
    act("paste", () => ask((text, how) => (how === "type" ? this.type(text) : this.rfb?.clipboardPasteFrom(text))));
    const keys = element("keys");
    keys.hidden = this.wishes.viewOnly;
    keys.append(...Object.keys(COMBINATIONS).map((name) => new Option(name, name)));
    keys.onchange = () => {
      this.press(COMBINATIONS[keys.value] ?? []);
      keys.selectedIndex = 0;
      this.rfb?.focus();
    };
  }

  // Which keyboard the guest has: as the address says, or as the user chooses.
  layouts() {
    const choice = document.getElementById("layout");
    choice.hidden = this.wishes.viewOnly;
    choice.append(...NAMES.map((name) => new Option(`Guest: ${name}`, name)));
    choice.value = this.translator.layout = layoutOf(this.wishes.keyboard);
    choice.onchange = () => {
      this.translator.layout = choice.value;
      this.rfb?.focus();
    };
  }

  // A server that does not know of keys is told of characters, which need no layout.
  translate(rfb) {
    const asPressed = rfb._keyboard.onkeyevent;
    rfb._keyboard.onkeyevent = (keysym, code, down, ...locks) => {
      if (this.translator.layout && rfb._qemuExtKeyEventSupported) this.translator.key(keysym, code, down);
      else asPressed(keysym, code, down, ...locks);
    };
  }

  press(keys) {
    this.translator.press(keys);
  }

  // Types a text as keys, no faster than a guest reads them; each key is let go before the next is pressed.
  async type(text) {
    let sent = 0;
    for (const keys of strokes(text, keysym, this.translator.layout)) {
      this.press(keys);
      sent += 1;
      if (sent % STROKES_AT_ONCE === 0) await new Promise((done) => setTimeout(done, STROKE_PAUSE));
    }
  }
}

// noVNC has no event for a whole picture; its display is flipped at the end of each.
function firstPicture(rfb) {
  return new Promise((resolve, reject) => {
    const display = rfb._display;
    const flip = display.flip.bind(display);
    let connected = false;
    rfb.addEventListener("connect", () => { connected = true; });
    rfb.addEventListener("disconnect", () => reject(new Error("no picture came")));
    display.flip = () => {
      flip();
      if (!connected) return;
      display.flip = flip;
      resolve();
    };
  });
}

// Keys that are down now, as [code, keysym].
function keysOf(rfb) {
  return Object.entries(rfb._keyboard._keyDownList);
}

function ask(then) {
  const dialog = document.getElementById("clipboard");
  const text = document.getElementById("text");
  dialog.onclose = () => {
    if (["clipboard", "type"].includes(dialog.returnValue)) then(text.value, dialog.returnValue);
    text.value = "";
  };
  dialog.showModal();
}
