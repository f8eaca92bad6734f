import type { ErrorCode } from '../../../src/lib/errors.ts';
import type { Chance } from './chance.ts';
import { diskMoods } from './disk.ts';
import { moods } from './far-side.ts';
import type { Process } from './hub.ts';
import { type Said, say } from './said.ts';
import { type HubName, hubNames, peers, phones, type World } from './world.ts';

/** Something that happens in a life. What it leaves to chance is its own, so that a life without it is the same otherwise. */
export type Act = (world: World, chance: Chance) => Promise<void> | void;

const everybody = [...peers, ...phones];
const places = [...peers, ...phones, 'room:trio', 'room:trio', 'room:den', 'room:hub', 'room:hub'];

function recent(world: World, chance: Chance, most: number): Said | undefined {
  const mine = world.said.filter(({ draft }) => draft.type === undefined).slice(-most);
  return mine.length > 0 ? chance.pick(mine) : undefined;
}

/** Words of a message that was changed since, and of its changes but the last one; all of them where it was taken back. */
function staleWords(world: World, hub: HubName, message: string): ReadonlySet<string> {
  const asked = world.said.find(({ id }) => id === message);
  const target = asked?.draft.inReplyTo ?? message;
  if (asked === undefined || asked.draft.type === 'chat.redaction') {
    return new Set();
  }
  const { disk } = world.hubs[hub];
  const group = world.said
    .filter(one => one.id === target || (one.id !== undefined && one.draft.inReplyTo === target))
    .toSorted((a, b) => disk.seqOf(a.id ?? '') - disk.seqOf(b.id ?? ''));
  const isBack = group.some(({ draft }) => draft.type === 'chat.redaction');
  return new Set((isBack ? group : group.slice(0, -1)).map(({ draft }) => draft.text ?? ''));
}

function begin(world: World, said: Omit<Said, 'isAsked' | 'key'>): void {
  const one: Said = { ...said, key: `k${world.order}`, isAsked: false };
  world.order += 1;
  world.said.push(one);
  say(world, one);
}

function change(
  world: World,
  hub: HubName,
  what: string,
  request: (process: Process) => Promise<unknown>,
  answered: (process: Process) => void = () => {},
  refused: (process: Process) => void = () => {},
): void {
  const society = world.societies[hub];
  if (world.hubs[hub].process?.owner === undefined) {
    return;
  }
  society.changes += 1;
  society.open += 1;
  world.tell(`${hub}: ${what}`);
  const done = () => {
    society.open -= 1;
    society.changes += 1;
  };
  const codes: readonly ErrorCode[] = ['request/not-found', 'request/conflict'];
  world.ask(hub, what.split(' ')[0] ?? what, request, {
    codes,
    answered: (_, process) => {
      done();
      answered(process);
    },
    refused(_, process) {
      done();
      refused(process);
    },
  });
}

export const acts = {
  say(world, chance) {
    const hub = chance.pick(hubNames);
    const isBrief = chance.odds(0.2);
    const words = `${world.order}`;
    const to = chance.pick(places);
    if (chance.odds(0.12)) {
      const kind = chance.pick(['refused', 'breaks'] as const);
      for (const address of everybody.filter(() => chance.odds(0.6))) {
        world.poison.set(`${address} ${words}`, kind);
      }
    }
    begin(world, {
      hub,
      from: chance.pick(['owner', 'app'] as const),
      draft: {
        to,
        text: words,
        priority: chance.pick(['normal', 'normal', 'bulk', 'critical']),
        ...(isBrief && { expiresAt: world.clock.now() + chance.pick([300, 3000, 20_000, 90_000]) }),
      },
    });
  },
  sayMore(world, chance) {
    for (let left = 2 + chance.below(4); left > 0; left--) {
      acts.say(world, chance);
    }
  },
  hear(world, chance) {
    const hub = chance.pick(hubNames);
    const again = chance.odds(0.3) ? [...world.spoken.values()].slice(-6) : [];
    if (again.length > 0) {
      return chance.pick(again).say();
    }
    const from = chance.pick(everybody);
    const bridge = from.slice(0, from.indexOf(':'));
    const remoteId = `${bridge} heard-${world.order++}`;
    const to = chance.pick(['room:hub', 'room:trio', 'room:trio']);
    const one: { readonly hub: HubName; id?: string; readonly say: () => Promise<void> } = {
      hub,
      async say() {
        const port = world.hubs[hub].process?.ports.get(bridge);
        world.tell(`${hub}: ${world.short(from)} says ${remoteId} to ${to}`);
        world.ask(
          hub,
          'hear',
          async () =>
            await port?.accept({
              remoteId,
              from,
              to,
              type: 'chat.message',
              text: `${from} ${remoteId}`,
              assurance: 'signed',
            }),
          {
            codes: ['request/not-found'],
            answered(accepted) {
              if (accepted !== undefined && one.id !== undefined && one.id !== accepted.id) {
                throw new Error(`${remoteId} was accepted twice`);
              }
              if (accepted !== undefined) {
                one.id = accepted.id;
              }
            },
          },
        );
      },
    };
    world.spoken.set(remoteId, one);
    return one.say();
  },
  edit(world, chance) {
    const one = recent(world, chance, 8);
    if (one?.id !== undefined) {
      const { hub, from, draft, id } = one;
      const text = `${world.order} for ${draft.text}`;
      begin(world, { hub, from, draft: { to: draft.to, type: 'chat.edit', text, inReplyTo: id } });
    }
  },
  redact(world, chance) {
    const one = recent(world, chance, 8);
    if (one?.id !== undefined && chance.odds(0.5)) {
      const { hub, from, draft, id } = one;
      begin(world, { hub, from, draft: { to: draft.to, type: 'chat.redaction', inReplyTo: id } });
    }
  },
  cancel(world, chance) {
    const one = recent(world, chance, 5);
    if (one?.id !== undefined && chance.odds(0.5)) {
      const { id, hub } = one;
      world.tell(`${hub}: ${world.short(id)} is called back`);
      world.calledBack.add(id);
      world.ask(hub, 'cancel', process => process.desk.messages.cancel(process.owner, id));
    }
  },
  /** A person looks at what ended in vain or waits, and says what is to become of it. */
  decide(world, chance) {
    const hub = chance.pick(hubNames);
    const { process } = world.hubs[hub];
    if (process?.owner === undefined) {
      return;
    }
    const state = chance.pick(['failed', 'ambiguous', 'ambiguous', 'queued', 'expired'] as const);
    const { items } = process.desk.deliveries.list(process.owner, { state, limit: 50 });
    if (items.length === 0) {
      return;
    }
    const { id, to, message } = chance.pick(items);
    const known = world.known(id);
    const verb = chance.odds(0.65) ? 'retry' : 'cancel';
    world.tell(`${hub}: a person says ${verb} of ${world.short(id)} to ${world.short(to)}, ${state}`);
    if (verb === 'cancel') {
      world.calledBack.add(id);
    }
    if (verb === 'retry' && chance.odds(0.5)) {
      world.poison.forEach((_, key) => {
        if (key.startsWith(`${to} `)) {
          world.poison.delete(key);
        }
      });
    }
    if (state === 'failed' || state === 'ambiguous') {
      known.isHeld = false;
      known.told = process;
      if (verb === 'retry') {
        known.asked += 1;
        known.leftSinceAsked = 0;
        // A far side that can tell a repeat gets what it may have once more, and the edit by itself.
        known.stale =
          state === 'failed' || to.startsWith('sms:') ? staleWords(world, hub, message.id) : new Set();
      }
    }
    world.ask(hub, `${verb} ${state}`, one => one.desk.deliveries[verb](one.owner, id), {
      codes: ['request/conflict'],
      answered(view) {
        known.told = undefined;
        world.tell(`${hub}: ${world.short(id)} is ${view.state}`);
      },
      refused() {
        known.told = undefined;
      },
    });
  },
  mood(world, chance) {
    const [address, side] = chance.pick([...world.sides]);
    side.mood = chance.pick(moods);
    world.tell(`${world.short(address)} is ${side.mood}`);
    if (side.mood === 'well' && world.options.pokes) {
      poke(world, address);
    }
  },
  disk(world, chance) {
    const hub = chance.pick(hubNames);
    if (chance.odds(0.25)) {
      const isUnheard = chance.odds(0.6);
      world.tell(`${hub}: the writer dies${isUnheard ? ' after its next commit' : ''}`);
      if (isUnheard) {
        world.hubs[hub].disk.diesUnheard = true;
      } else {
        world.hubs[hub].disk.loseWriter();
      }
    } else {
      world.hubs[hub].disk.mood = chance.pick(diskMoods);
      world.tell(`${hub}: the disk is ${world.hubs[hub].disk.mood}`);
    }
  },
  member(world, chance) {
    const hub = chance.pick(hubNames);
    const { process } = world.hubs[hub];
    if (process?.owner === undefined) {
      return;
    }
    const room = chance.pick(['trio', 'den', 'den']);
    const view = process.desk.rooms.list(process.owner).find(({ name }) => name === room);
    const member = chance.pick(everybody);
    if (view === undefined) {
      const members = [...everybody.filter(() => chance.odds(0.5)), 'app:app'];
      change(
        world,
        hub,
        `make ${room} with ${members.map(one => world.short(one))}`,
        one => one.desk.rooms.create(one.owner, room, { members, consent: 'given' }),
        () => world.societies[hub].joined(room, members),
      );
    } else if (chance.odds(0.1)) {
      const left = world.societies[hub].leaving(room, view.members, { all: true });
      change(world, hub, `unmake ${room}`, one => one.desk.rooms.remove(one.owner, room), left);
    } else if (view.members.includes(member)) {
      const left = world.societies[hub].leaving(room, [member]);
      change(
        world,
        hub,
        `remove ${world.short(member)} from ${room}`,
        one => one.desk.rooms.removeMember(one.owner, room, member),
        left,
      );
    } else {
      change(
        world,
        hub,
        `add ${world.short(member)} to ${room}`,
        one => one.desk.rooms.addMember(one.owner, room, member, 'given'),
        () => world.societies[hub].joined(room, [member]),
      );
    }
  },
  block(world, chance) {
    const hub = chance.pick(hubNames);
    const { process } = world.hubs[hub];
    const society = world.societies[hub];
    if (process?.owner === undefined || society.open > 0) {
      return;
    }
    const [blocked] = process.desk.blocks.list();
    if (blocked !== undefined) {
      society.unblock(blocked.pattern);
      const { pattern } = blocked;
      const back = () => society.block(pattern);
      change(world, hub, `unblock ${pattern}`, one => one.desk.blocks.remove(pattern), undefined, back);
    } else if (chance.odds(0.5)) {
      const address = chance.pick(everybody);
      society.blocking(address);
      change(
        world,
        hub,
        `block ${address}`,
        one => one.desk.blocks.add(address),
        () => society.block(address),
        one => {
          // What follows from it could not be done: it is in force all the same.
          if (one.desk.blocks.get(address) !== undefined) {
            society.block(address);
          }
        },
      );
    }
  },
  rule(world, chance) {
    const hub = chance.pick(hubNames);
    const { process } = world.hubs[hub];
    const id = chance.pick(['one', 'two']);
    if (process?.owner === undefined) {
      return;
    }
    if (process.desk.routes.list().some(rule => rule.id === id)) {
      change(world, hub, `unrule ${id}`, one => one.desk.routes.remove(id));
    } else {
      const to = [chance.pick([...everybody, 'room:trio'])];
      const rule = {
        from: chance.pick(['app:*', 'lxmf:*']),
        to,
        ...(chance.odds(0.3) && { maxRate: '2/m' }),
      };
      change(world, hub, `rule ${id} ${rule.from} to ${world.short(to[0] ?? '')}`, one =>
        one.desk.routes.create(id, rule),
      );
    }
  },
  read(world, chance) {
    world.readers[chance.pick(hubNames)].read(1 + chance.below(10));
  },
  cable(world, chance) {
    const which = `${chance.pick(hubNames)} ${chance.pick(['lxmf', 'sms'])}`;
    world.tell(`${which}: the cable is out`);
    world.breaks.get(which)?.();
  },
  async wait(world, chance) {
    await world.clock.advance(chance.pick([10, 1000, 30_000, 120_000]));
  },
  jump(world, chance) {
    const by = chance.pick([-7_200_000, 60_000, 3_600_000]);
    world.jumps += 1;
    world.tell(`the clock is set by ${by / 1000} s`);
    world.clock.set(by);
  },
  async restart(world, chance) {
    const name = chance.pick(hubNames);
    const { process } = world.hubs[name];
    if (process?.owner === undefined || chance.odds(0.4)) {
      return;
    }
    world.count('restart');
    world.tell(`${name}: stops`);
    world.societies[name].ending();
    await world.drive(process.stop(), `the stop of ${name}`);
    world.hubs[name].kill();
    world.tell(`${name}: has stopped`);
    await world.clock.advance(chance.pick([10, 5000, 60_000]));
    await wake(world, name);
  },
  async kill(world, chance) {
    const name = chance.pick(hubNames);
    if (chance.odds(0.4)) {
      return;
    }
    world.count('killed');
    world.tell(`${name}: is killed`);
    world.societies[name].ending();
    world.hubs[name].kill();
    await world.clock.advance(chance.pick([10, 5000, 60_000]));
    await wake(world, name);
  },
} satisfies Record<string, Act>;

export type ActName = keyof typeof acts;

/** What happens more often than once in a while. */
const often: readonly ActName[] = [
  ...(['say', 'say', 'say', 'say', 'sayMore', 'edit', 'edit', 'hear', 'decide', 'decide'] as const),
  ...(['mood', 'mood', 'mood', 'wait', 'wait', 'read', 'member'] as const),
];
export const weights: readonly ActName[] = [...(Object.keys(acts) as ActName[]), ...often];

/** Starts a hub: who had no answer asks again. */
export async function wake(world: World, name: HubName): Promise<void> {
  const hub = world.hubs[name];
  hub.disk.diesUnheard = false;
  if (hub.disk.mood === 'full') {
    hub.disk.mood = 'quick';
  }
  world.societies[name].ended();
  await world.drive(hub.start(), `the start of ${name}`);
  const { process } = hub;
  if (process === undefined) {
    return;
  }
  world.tell(`${name}: has started`);
  world.societies[name].started(process);
  world.readers[name].lost();
  for (const question of world.asked) {
    if (!question.process.isAlive) {
      world.asked.delete(question);
    }
  }
  for (const said of world.said) {
    if (said.hub === name && said.id === undefined && said.refused === undefined) {
      said.isAsked = false;
      say(world, said);
    }
  }
}

export function poke(world: World, address: string): void {
  for (const name of hubNames) {
    world.hubs[name].process?.ports.get(address.slice(0, address.indexOf(':')))?.reachable(address);
  }
}
