import { GatewayError } from '../lib/errors.ts';
import { createTurns } from '../lib/turns.ts';
import type { Address } from './message.ts';
import type { Consent, Trust } from './society-contract.ts';
import type { NoteRow } from './store/note-table.ts';
import type { Store } from './store/store.ts';

/** What is known of an address by somebody's word, and not by hearing it. */
export interface PeerNote {
  /** The owner's own name for it. */
  readonly alias?: string;
  readonly trust?: Trust;
  readonly consent?: Consent;
}

export interface PeerNotes {
  get(address: Address): PeerNote | undefined;
  has(address: Address): boolean;
  addresses(): Iterable<Address>;
  /** Durable when it resolves; a member that is null is taken away. Throws `store/full`, `store/unavailable`. */
  put(address: Address, note: { [K in keyof PeerNote]?: PeerNote[K] | null }): Promise<void>;
}

/** Notes there may be: each is somebody's word, and none is forgotten for another. */
const mostNotes = 10_000;

export function createPeerNotes(store: Store): PeerNotes {
  const notes = new Map<Address, PeerNote>();
  for (const row of store.read.peerNotes()) {
    notes.set(row.address, noteOf(row));
  }
  const inTurn = createTurns();
  return {
    get: address => notes.get(address),
    has: address => notes.has(address),
    addresses: () => notes.keys(),
    put: (address, change) =>
      inTurn(async () => {
        const before = notes.get(address);
        const merged = { ...before, ...change };
        const row: NoteRow = {
          address,
          alias: merged.alias ?? null,
          trust: merged.trust ?? null,
          consent: merged.consent ?? null,
        };
        const note = noteOf(row);
        const isNothing = Object.keys(note).length === 0;
        if (before === undefined && (isNothing || notes.size >= mostNotes)) {
          if (isNothing) {
            return;
          }
          throw new GatewayError('store/full', `${mostNotes} peers at most have a note`);
        }
        await store.committer.commit('peers.note', { notes: [row] });
        if (isNothing) {
          notes.delete(address);
        } else {
          notes.set(address, note);
        }
      }),
  };
}

function noteOf({ alias, trust, consent }: NoteRow): PeerNote {
  return {
    ...(alias === null ? {} : { alias }),
    ...(trust === null ? {} : { trust: trust as Trust }),
    ...(consent === null ? {} : { consent: consent as Consent }),
  };
}
