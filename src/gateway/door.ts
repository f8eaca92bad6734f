import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import { codeOf, isGatewayError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { Acceptor } from './acceptor.ts';
import type { Incoming } from './bridge.ts';
import { type Address, nameOf, schemeOf } from './message.ts';
import { isKept } from './own-rooms.ts';
import type { PeerNotes } from './peer-notes.ts';
import type { RoomBook } from './room-book.ts';

/**
 * The door of a room for people on a mesh, who have no other way in or out than to write to it: a line of `/join` or `/leave`
 * and nothing else. Only a signed word counts: nobody joins or leaves for somebody else.
 */
export interface Door {
  /** Does what a message asks for, durably, before it is accepted; true where it was such a word and concerns nobody else. */
  heed(incoming: Incoming): Promise<boolean>;
  /**
   * Asks newcomers of a room whether they want to be members, and tells the others that they are; what they have agreed to is
   * noted. Begun again after a crash it tells nobody twice. Throws what noting it throws.
   */
  welcome(room: string): Promise<void>;
  /** Welcomes newcomers of all rooms that are not told yet. */
  welcomeAll(): Promise<void>;
}

export interface DoorParts {
  readonly book: RoomBook;
  readonly notes: PeerNotes;
  readonly acceptor: Acceptor;
  readonly clock: Clock;
  readonly counters: Counters;
  readonly log: Log;
  /** The room an address on the mesh belongs to. */
  readonly partyAt: (address: Address) => Address | undefined;
  readonly membersOf: (room: string) => readonly Address[];
  readonly hubName: () => string;
}

/** ms in which somebody is given an answer once: a loop of answers must not run on the air. */
const answerEvery = 30_000;
const answersMost = 1000;

export function createDoor(parts: DoorParts): Door {
  const { book, notes, counters, clock, log } = parts;
  const answered = new Map<string, number>();

  function mayAnswer(key: string): boolean {
    const now = clock.monotonic();
    if (now - (answered.get(key) ?? Number.NEGATIVE_INFINITY) < answerEvery) {
      return false;
    }
    answered.delete(key);
    answered.set(key, now);
    if (answered.size > answersMost) {
      answered.delete(answered.keys().next().value as string);
    }
    return true;
  }

  /**
   * Says something in the name of the room; what cannot be said now is not worth a failure of what it is about. False where
   * it can be said later.
   */
  async function say(room: string, to: Address, key: string, text: string): Promise<boolean> {
    try {
      await parts.acceptor.accept('room', {
        remoteId: `${room}/${key}`,
        from: `room:${room}`,
        to,
        type: 'chat.message',
        text,
        assurance: 'hub',
      });
      return true;
    } catch (error) {
      counters.add('rooms/unsaid');
      log.warn({ code: codeOf(error) }, 'a member of a room could not be told of it');
      return !isGatewayError(error, 'store/full', 'store/unavailable');
    }
  }

  async function join(room: string, from: Address): Promise<string> {
    const isIn = parts.membersOf(room).includes(from);
    if (!isIn && book.get(room)?.open !== true) {
      counters.add('rooms/join-refused');
      return `The room ${room} is not open: ask somebody who is in it to add you.`;
    }
    if (!isIn) {
      try {
        await book.put(room, before => ({
          members: [...(before?.members ?? []), from],
          open: before?.open ?? false,
          asked: before?.asked ?? [],
        }));
      } catch (error) {
        // Refused, the message would come again and again.
        if (!isGatewayError(error, 'request/invalid')) {
          throw error;
        }
        counters.add('rooms/join-refused');
        return `The room ${room} is full.`;
      }
    }
    // Whoever was not asked needs no note to be in an open room: strangers must not use up those there may be.
    const known = notes.get(from)?.consent;
    const wasAsked = known === 'asked' || book.get(room)?.asked.includes(from) === true;
    if (known !== 'given' && (wasAsked || known === 'refused')) {
      await notes.put(from, { consent: 'given' });
    }
    counters.add('rooms/joined');
    return `You are in the room ${room} and get what is said there. Write to this address to speak, /leave to leave.`;
  }

  async function leave(room: string, from: Address): Promise<string> {
    if (!parts.membersOf(room).includes(from)) {
      return `You are not in the room ${room}.`;
    }
    const wasAsked = book.get(room)?.asked.includes(from) === true && notes.get(from)?.consent !== 'given';
    await book.put(room, before => ({
      members: (before?.members ?? []).filter(member => member !== from),
      removed: [from],
      open: before?.open ?? false,
      asked: (before?.asked ?? []).filter(member => member !== from),
    }));
    if (wasAsked) {
      await notes.put(from, { consent: 'refused' });
    }
    counters.add('rooms/left');
    return `You have left the room ${room}.`;
  }

  return {
    async heed(incoming) {
      const party = incoming.assurance === 'signed' ? parts.partyAt(incoming.to) : undefined;
      const word = /^\s*\/(join|leave)\s*$/i.exec(incoming.text.slice(0, 64))?.[1]?.toLowerCase();
      if (party === undefined || word === undefined || incoming.text.length > 64) {
        return false;
      }
      const room = nameOf(party);
      if (schemeOf(party) !== 'room' || isKept(room) || book.get(room) === undefined) {
        return false;
      }
      const { from } = incoming;
      const answer = await (word === 'join' ? join(room, from) : leave(room, from));
      if (mayAnswer(`${room} ${from} ${answer}`)) {
        await say(room, from, `${word}/${incoming.remoteId}`, answer);
      }
      return true;
    },
    welcome,
    async welcomeAll() {
      for (const room of Object.keys(book.rooms)) {
        await welcome(room).catch(error => {
          log.warn({ code: codeOf(error) }, 'newcomers of a room could not be told yet');
        });
      }
    },
  };

  async function welcome(room: string): Promise<void> {
    const { untold = [], asked = [] } = book.get(room) ?? {};
    const told: string[] = [];
    try {
      for (const { address, key } of untold) {
        const known = notes.get(address)?.consent;
        const isAsked = asked.includes(address) && known !== 'given';
        const said = isAsked ? 'asked' : 'given';
        if (known !== 'given' && known !== 'refused' && known !== said) {
          await notes.put(address, { consent: said });
        }
        const text = isAsked
          ? `${parts.hubName()} asks you into the room ${room}. Write /join here to get what is said there; /leave, and you are not asked again.`
          : `You are in the room ${room} of ${parts.hubName()} now. Write to this address to speak, /leave to leave.`;
        if (known === 'refused' || (await say(room, address, `welcome/${key}`, text))) {
          told.push(key);
        }
      }
    } finally {
      if (told.length > 0) {
        // Where that cannot be written, whoever is told again is told nothing new.
        book.told(room, told).catch(error => {
          log.debug({ code: codeOf(error) }, 'who was told could not be noted');
        });
      }
    }
  }
}
