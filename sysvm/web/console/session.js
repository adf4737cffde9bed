// The life of one console session. It opens with a ticket. Whenever its connection is lost, or its proxy asks it to move, it
// attaches again with the secret that it was given last: through whichever of the proxies it knows answers first. RFB cannot
// resume, so that is a new RFB session; the last picture stays until the new one is whole.
//
// What ends it for good: a refused ticket or secret, an idle session, a console opened elsewhere, or nobody answering for
// GIVE_UP milliseconds.

import { Channel, reach } from "./channel.js";

const FINAL = new Set([4400, 4401, 4408, 4409]);
const FIRST_PATIENCE = 20_000;
const PATIENCE = 2000;
const PAUSES = [0, 100, 250, 500, 1000, 2000];
const GIVE_UP = 120_000;
const LOST = "The connection to the console proxy was lost: open the console again.";

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

export class Session {
  // `view(said)` makes the view of a kind of console; `says(state, text)` and `measured(ms)` tell the user.
  constructor(home, { view, says, measured }) {
    Object.assign(this, { home, view, says, measured, proxies: [], secret: "", channel: null, shown: null });
  }

  async open(ticket) {
    const end = await this.attach([this.home], { say: "open", ticket }, FIRST_PATIENCE);
    if (end) this.says("ended", end.reason || LOST);
  }

  // One attempt; answers why it failed, or nothing.
  async attach(addresses, key, patience = PATIENCE) {
    const socket = await reach(addresses, patience);
    if (!socket) return { code: 0, reason: "" };
    return new Promise((done) => {
      const channel = new Channel(socket, key, {
        opened: (said) => this.opened(channel, said).then(() => done(null), () => {
          channel.leave();
          done({ code: 0, reason: "" });
        }),
        ended: (event) => (channel === this.channel ? this.lost(event) : done(event)),
        move: (said) => this.move(said.proxies),
        measured: this.measured,
      });
    });
  }

  async opened(channel, said) {
    this.secret = said.resume;
    this.proxies = said.proxies;
    this.shown ??= await this.view(said);
    await this.shown.take(channel, said);
    this.channel?.leave();
    this.channel = channel;
    this.says("open", "");
  }

  async lost(event) {
    this.channel = null;
    this.shown?.lost();
    if (FINAL.has(event.code) || !this.secret) return this.says("ended", event.reason || LOST);
    await this.back([this.home, ...this.proxies], event.reason);
  }

  // The old connection serves until the new one shows a picture.
  async move(proxies) {
    if (!proxies.length || this.moving) return;
    this.moving = true;
    await this.attach(proxies.map((place) => this.at(place)), { say: "resume", secret: this.secret });
    this.moving = false;
  }

  async back(places, why) {
    const addresses = [...new Set(places.map((place) => this.at(place)))];
    const until = performance.now() + GIVE_UP;
    for (let tries = 0; performance.now() < until; tries += 1) {
      this.says("away", why || "the connection was lost: coming back…");
      await pause(PAUSES[Math.min(tries, PAUSES.length - 1)]);
      const end = await this.attach(addresses, { say: "resume", secret: this.secret });
      if (!end) return;
      if (FINAL.has(end.code)) return this.says("ended", end.reason || LOST);
      why = end.reason || why;
    }
    this.says("ended", why || LOST);
  }

  at(place) {
    return place.includes("://") ? place : `${this.home.split("://")[0]}://${place}/websockify`;
  }
}
