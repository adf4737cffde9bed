// Keys by name, and characters as key strokes. A stroke is a list of [keysym, code]: pressed in this order, let go in the other.
//
// A guest's QEMU is told which key goes down (QEMU's extended key event), not what is printed on it, so its own layout says
// what comes of it. Whoever has the same keyboard as the guest needs nothing more. For everybody else, and for pasted texts, a
// character is looked up in the layout that the guest has: on which key it is there, and with which of Shift and AltGr.

import { KEYS, LAYOUTS } from "./layouts.js";

const SHIFT = [0xffe1, "ShiftLeft"];
const CTRL = [0xffe3, "ControlLeft"];
const ALT = [0xffe9, "AltLeft"];
const ALTGR = [0xfe03, "AltRight"];
const SUPER = [0xffeb, "MetaLeft"];
const RETURN = [0xff0d, "Enter"];
const TAB = [0xff09, "Tab"];
const LEVELS = [[], [SHIFT], [ALTGR], [SHIFT, ALTGR]];
const USUAL = "us"; // what a guest's firmware and most installers expect

const f = (number) => [0xffbd + number, `F${number}`];

export const COMBINATIONS = {
  "Escape": [[0xff1b, "Escape"]],
  "Tab": [TAB],
  "Alt-Tab": [ALT, TAB],
  "Alt-F4": [ALT, f(4)],
  "Windows": [SUPER],
  "Ctrl-Escape": [CTRL, [0xff1b, "Escape"]],
  "Print Screen": [[0xff61, "PrintScreen"]],
  ...Object.fromEntries([1, 2, 3, 4, 5, 6, 7, 8].map((n) => [`Ctrl-Alt-F${n}`, [CTRL, ALT, f(n)]])),
};

export const NAMES = Object.keys(LAYOUTS);

// The names of people for layouts: "de_DE", "gb" and "en" are somebody's, too. Nothing for what is none of ours.
export function layoutOf(name) {
  const plain = (name ?? "").toLowerCase().replace("_", "-");
  const known = { "en": "us", "en-us": "us", "gb": "uk", "en-gb": "uk", "ja": "jp", "cn": "sc", "sv": "se", "da": "dk", "br": "pt-br" };
  return [plain, known[plain], plain.split("-")[0]].find((one) => one && Object.hasOwn(LAYOUTS, one)) ?? "";
}

const places = {}; // layout -> character -> [place among KEYS, level]

// Keys that every keyboard has come first, then those without AltGr.
function placesOf(layout) {
  if (places[layout]) return places[layout];
  const found = places[layout] = new Map();
  const rare = KEYS.map((name) => name.startsWith("Intl"));
  for (const [levels, some] of [[[0, 1], false], [[0, 1], true], [[2, 3], false], [[2, 3], true]]) {
    for (const level of levels) {
      LAYOUTS[layout].forEach((borne, at) => {
        const character = [...borne][level];
        if (rare[at] === some && character && character !== "\0" && !found.has(character)) found.set(character, [at, level]);
      });
    }
  }
  return found;
}

const ALONE = { "`": "\u0300", "\u00b4": "\u0301", "^": "\u0302", "~": "\u0303", "\u00a8": "\u0308", "\u00b0": "\u030a", "\u02c7": "\u030c", "\u00b8": "\u0327" };

// The characters to strike for one: itself, or a dead key and what it is put onto. Nothing when the layout has neither.
function struck(character, on) {
  if (on.has(character)) return [character];
  const [base, mark, more] = [...character.normalize("NFD")];
  if (mark && !more && on.has(mark) && on.has(base)) return [mark, base];
  const dead = ALONE[character];
  return dead && on.has(dead) ? [dead, " "] : [];
}

// The strokes of one character on a layout; `keysym` gives the keysym of a code point. Empty when it is not on that keyboard.
export function strokesOf(character, keysym, layout) {
  const on = placesOf(layout);
  return struck(character, on).map((one) => {
    const [at, level] = on.get(one);
    return [...LEVELS[level], [keysym(one.codePointAt(0)), KEYS[at]]];
  });
}

// The strokes of a text; a character that is on no key is told by its keysym alone.
export function* strokes(text, keysym, layout) {
  for (const character of text.replace(/\r\n?/g, "\n")) {
    if (character === "\n") yield [RETURN];
    else if (character === "\t") yield [TAB];
    else {
      const found = strokesOf(character, keysym, layout || USUAL);
      yield* found.length ? found : [[[keysym(character.codePointAt(0)), null]]];
    }
  }
}

const LAST = 0x2fff; // of the alphabets; what lies above is its own keysym
const known = new Map(); // keysym -> character

// The character that a keysym stands for; nothing for keys that have none.
function characterOf(keysym, lookup) {
  if (!known.size) for (let point = 0x20; point <= LAST; point += 1) known.set(lookup(point), String.fromCodePoint(point));
  return known.get(keysym) ?? (keysym >= 0x01000000 ? String.fromCodePoint(keysym & 0xffffff) : "");
}

const SHIFTS = new Set(["ShiftLeft", "ShiftRight"]);
const COMMANDS = ["ControlLeft", "ControlRight", "AltLeft", "AltRight", "MetaLeft", "MetaRight"];

// Between a browser's keyboard and a guest's with another layout. `send(keysym, code, down)` tells the guest, `lookup` gives
// the keysym of a code point. A character is struck whole when its key goes down (a held key repeats in the browser), with the
// Shift and AltGr that it needs there, whatever is held here: AltGr and Caps Lock stay here. Other keys go through as they are.
export class Translator {
  constructor(lookup, send) {
    Object.assign(this, { lookup, send, layout: "", held: new Map(), struck: new Set() });
  }

  key(keysym, code, down) {
    if (!down && this.struck.delete(code)) return;
    if (down && (code === "CapsLock" || (code === "AltRight" && keysym === ALTGR[0]))) return void this.struck.add(code);
    const character = down ? characterOf(keysym, this.lookup) : "";
    const found = character ? strokesOf(character, this.lookup, this.layout) : [];
    if (found.length) {
      this.struck.add(code);
      return this.strike(found);
    }
    if (down) this.held.set(code, keysym);
    else this.held.delete(code);
    this.send(keysym, code, down);
  }

  // With Ctrl, Alt or the Windows key held it is a command: its key alone, beside what is held.
  strike(found) {
    const command = COMMANDS.some((code) => this.held.has(code));
    const shifts = command ? [] : [...this.held].filter(([code]) => SHIFTS.has(code));
    for (const [code, keysym] of shifts) this.send(keysym, code, false);
    for (const stroke of found) this.press(command ? stroke.slice(-1) : stroke);
    for (const [code, keysym] of shifts) this.send(keysym, code, true);
  }

  press(keys) {
    for (const [keysym, code] of keys) this.send(keysym, code, true);
    for (const [keysym, code] of [...keys].reverse()) this.send(keysym, code, false);
  }
}
