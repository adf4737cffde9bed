// Keys by name, and a text as key strokes. A stroke is a list of [keysym, code]: pressed in this order, let go in the other.
// Codes are those of a US keyboard, which is what a guest's firmware and most installers expect; QEMU and others turn them
// into scan codes, so Shift has to be pressed where that keyboard needs it.

const SHIFT = [0xffe1, "ShiftLeft"];
const CTRL = [0xffe3, "ControlLeft"];
const ALT = [0xffe9, "AltLeft"];
const SUPER = [0xffeb, "MetaLeft"];
const RETURN = [0xff0d, "Enter"];
const TAB = [0xff09, "Tab"];

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

const PLAIN = "`1234567890-=[]\\;',./";
const SHIFTED = '~!@#$%^&*()_+{}|:"<>?';
const CODES = [
  "Backquote", ..."1234567890".split("").map((digit) => `Digit${digit}`), "Minus", "Equal", "BracketLeft", "BracketRight",
  "Backslash", "Semicolon", "Quote", "Comma", "Period", "Slash",
];

// The key of a character, or nothing when a US keyboard has none: then only its keysym is sent.
function key(character) {
  if (/^[a-z]$/i.test(character)) return { code: `Key${character.toUpperCase()}`, shift: character !== character.toLowerCase() };
  if (character === " ") return { code: "Space", shift: false };
  const [plain, shifted] = [PLAIN.indexOf(character), SHIFTED.indexOf(character)];
  if (plain >= 0) return { code: CODES[plain], shift: false };
  if (shifted >= 0) return { code: CODES[shifted], shift: true };
  return null;
}

// `keysym` gives the keysym of a code point.
export function* strokes(text, keysym) {
  for (const character of text.replace(/\r\n?/g, "\n")) {
    if (character === "\n") yield [RETURN];
    else if (character === "\t") yield [TAB];
    else {
      const on = key(character);
      const own = [keysym(character.codePointAt(0)), on?.code ?? null];
      yield on?.shift ? [SHIFT, own] : [own];
    }
  }
}
