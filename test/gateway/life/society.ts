import { type Address, type Message, nameOf, schemeOf } from '../../../src/gateway/message.ts';
import type { Hub, Process } from './hub.ts';

/** ms after which what waited for a former member must have been called back. */
const patience = 10_000;

/** What a hub has said, and kept, of who is in its rooms and whom it has nothing to do with. */
export class Society {
  readonly #hub: Hub;
  readonly #blocked = new Set<Address>();
  /** Whom it had nothing to do with at any time, and who was taken out of a room: `<room> <member>`. */
  readonly #everBlocked = new Set<Address>();
  readonly #everOut = new Set<string>();
  /** By room and member: the newest message when the member was out of it, and since when that must show. */
  readonly #out = new Map<string, { readonly newest: number; readonly from: number }>();
  /** Removals asked for and not answered. */
  readonly #leaving = new Set<Leaving>();
  /** When the disk was last seen to be anything but well, or was found to have lost a writer. */
  #troubledAt = 0;
  #deaths = 0;
  #endedAt = 0;
  /** Changes asked for so far, and how many of them have no answer. */
  changes = 0;
  open = 0;

  constructor(hub: Hub) {
    this.#hub = hub;
  }

  isBlocked(address: Address): boolean {
    return this.#blocked.has(address);
  }

  /** Whether it was said in a room before the recipient was taken out of it. */
  isOut({ id, to, type }: Message, recipient: Address): boolean {
    const out = schemeOf(to) === 'room' ? this.#out.get(`${nameOf(to)} ${recipient}`) : undefined;
    return (
      out !== undefined &&
      type === 'chat.message' &&
      this.#hub.options.clock.monotonic() >= out.from &&
      this.#hub.disk.seqOf(id) <= out.newest
    );
  }

  /** Whether a delivery may have been called back because of what became of its recipient. */
  mayCallBack(to: Address, recipient: Address): boolean {
    return (
      this.#everBlocked.has(recipient) ||
      (schemeOf(to) === 'room' && this.#everOut.has(`${nameOf(to)} ${recipient}`))
    );
  }

  /** Somebody is about to block the address. */
  blocking(address: Address): void {
    this.#everBlocked.add(address);
  }

  block(address: Address): void {
    this.#blocked.add(address);
  }

  unblock(address: Address): void {
    this.#blocked.delete(address);
  }

  /**
   * Somebody is being taken out of a room, or `all` who are in it by the time that is done, which the function it returns says.
   * Who has left it before is called back nothing by that.
   */
  leaving(room: string, members: readonly Address[], { all = false } = {}): (process: Process) => void {
    const leaving = { room, members: new Set(members), all };
    this.#leaving.add(leaving);
    for (const member of members) {
      this.#everOut.add(`${room} ${member}`);
    }
    return process => {
      this.#leaving.delete(leaving);
      this.#outOf(leaving, process, patience);
    };
  }

  /** Somebody is in a room now: changes are made one at a time, so that whoever asked later for all to leave takes them out, too. */
  joined(room: string, members: readonly Address[]): void {
    for (const leaving of this.#leaving) {
      if (leaving.all && leaving.room === room) {
        for (const member of members) {
          leaving.members.add(member);
          this.#everOut.add(`${room} ${member}`);
        }
      }
    }
  }

  #outOf({ room, members }: Pick<Leaving, 'room' | 'members'>, { store }: Process, after: number): void {
    const from = this.#hub.options.clock.monotonic() + after;
    for (const member of members) {
      this.#out.set(`${room} ${member}`, { newest: store.read.newestMessage(), from });
    }
  }

  /** How the disk is, looked at after every act. */
  observe(): void {
    const { disk, options } = this.#hub;
    if (!disk.isWell || disk.deaths !== this.#deaths) {
      this.#troubledAt = options.clock.monotonic();
      this.#deaths = disk.deaths;
    }
  }

  /** The process is about to end. */
  ending(): void {
    this.#endedAt = this.#hub.options.clock.monotonic();
  }

  /**
   * The process has ended: what it was about to call back may go on, but for those who are taken out by name. What it had called
   * back is on a disk that has been well since, also where an attempt was under way that may have succeeded.
   */
  ended(): void {
    this.observe();
    for (const [who, { from }] of this.#out) {
      if (this.#endedAt < from || from - patience <= this.#troubledAt) {
        this.#out.delete(who);
      }
    }
  }

  /** A process has started: what it says of its rooms and blocks is in force, whether or not anybody had an answer. */
  started(process: Process): void {
    this.open = 0;
    this.changes += 1;
    this.#blocked.clear();
    for (const { pattern } of process.desk.blocks.list()) {
      this.#blocked.add(pattern);
    }
    const views = process.desk.rooms.list(process.owner);
    // Of a room of the configuration it is known who was taken out; of others, a process that died may have called back nothing.
    for (const { room, members } of this.#leaving) {
      const view = views.find(({ name }) => name === room);
      if (view?.source === 'config') {
        const out = new Set([...members].filter(one => !view.members.includes(one)));
        this.#outOf({ room, members: out }, process, patience);
      }
    }
    this.#leaving.clear();
  }
}

interface Leaving {
  readonly room: string;
  readonly members: Set<Address>;
  /** Whoever is in it. */
  readonly all: boolean;
}
