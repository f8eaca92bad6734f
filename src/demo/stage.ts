import type { Client, GatewayEvent } from '../gateway/desk.ts';
import { systemClock } from '../lib/clock.ts';
import type { Hub } from '../start/hub.ts';

/** Longest wait for any one step, ms: a demonstration that hangs shows nothing. The air takes its time. */
const patience = 60_000;

const colours = process.stdout.isTTY === true;

export function paint(text: string, colour: number): string {
  return colours ? `\u001b[${colour}m${text}\u001b[0m` : text;
}

/** One line of the play. */
export function say(who: string, colour: number, text: string): void {
  const time = new Date().toISOString().slice(11, 23);
  process.stdout.write(`${paint(time, 90)}  ${paint(who.padEnd(11), colour)}  ${text}\n`);
}

export function headline(text: string): void {
  process.stdout.write(`\n${paint(text, 1)}\n`);
}

/** A hub on the stage: what happens in it is shown as its owner sees it, and steps wait for it. */
export interface Watched {
  readonly owner: Client;
  stop(): void;
  /** The next event like this, or the end of the play. */
  next(what: string, wanted: (event: GatewayEvent) => boolean): Promise<GatewayEvent>;
}

export function watch(hub: Hub, colour: number): Watched {
  const { desk } = hub;
  const owner = desk.clients.list().find(client => client.name === 'owner') as Client;
  const waiting = new Set<(event: GatewayEvent) => void>();
  let cursor = desk.events.cursor;
  const stop = desk.events.onCommit(() => {
    const page = desk.events.read(owner, cursor);
    cursor = page.cursor;
    for (const event of page.items) {
      show(hub.facts.name, colour, event);
      for (const wake of [...waiting]) {
        wake(event);
      }
    }
  });
  return {
    owner,
    stop,
    async next(what, wanted) {
      const { promise, resolve } = Promise.withResolvers<GatewayEvent>();
      const wake = (event: GatewayEvent) => wanted(event) && resolve(event);
      waiting.add(wake);
      const event = await inTime(`${hub.facts.name}: ${what}`, promise);
      waiting.delete(wake);
      return event;
    },
  };
}

/** What a step waits for; the end of the play where it does not come. */
export async function inTime<T>(what: string, promise: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<undefined>();
  const cancel = systemClock.after(patience, () => late.resolve(undefined));
  const keepAlive = setTimeout(() => {}, patience);
  const found = await Promise.race([promise.then(value => ({ value })), late.promise]);
  cancel();
  clearTimeout(keepAlive);
  if (found === undefined) {
    say('demo', 31, `${what}: did not happen within ${patience / 1000} s`);
    process.exit(1);
  }
  return found.value;
}

function show(who: string, colour: number, event: GatewayEvent): void {
  if (event.kind === 'message.accepted' && event.message !== undefined) {
    const { type, from, to, text, inReplyTo } = event.message;
    const reply = inReplyTo === undefined ? '' : ' (an answer)';
    say(who, colour, `accepted ${type} ${short(from)} → ${short(to)}${reply}: ${paint(text, 1)}`);
  }
  if (event.kind === 'delivery.changed' && event.delivery !== undefined) {
    const { state, to, reason } = event.delivery;
    say(who, colour, `  to ${short(to)}: ${state}${reason === undefined ? '' : ` (${reason})`}`);
  }
  if (event.kind === 'peer.seen' && event.peer?.name !== undefined) {
    say(who, colour, `heard ${short(event.peer.address)} “${event.peer.name}”`);
  }
}

export function short(address: string): string {
  return address.replace(/([0-9a-f]{8})[0-9a-f]{24}/, '$1…');
}
