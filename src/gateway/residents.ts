import type { Clock } from '../lib/clock.ts';
import { GatewayError } from '../lib/errors.ts';
import { createTurns } from '../lib/turns.ts';
import type { Bridge, Resident } from './bridge.ts';
import { type Address, nameOf, schemeOf, shownName } from './message.ts';
import type { ResidentRow } from './store/resident-table.ts';
import type { Store } from './store/store.ts';

/** Local parties with addresses of their own on the meshes: rooms, people who asked for it, apps. */
export interface Residents {
  /** Gives the party an address on every mesh, or another name; durable when it resolves. Throws `store/full`. */
  host(party: Address, name: string): Promise<Resident>;
  /** Takes them away; the keys are kept, so that it has the same ones when it comes back. */
  giveUp(party: Address): Promise<void>;
  /** Rows for a party that is made in the same commit; nothing is opened before `opened`. Throws as `host` does. */
  draft(party: Address, name: string): readonly ResidentRow[];
  /** The rows of a draft are on disk. */
  opened(rows: readonly ResidentRow[]): void;
  /** The party's rows were removed in somebody else's commit. */
  removed(party: Address): void;
  of(party: Address): Resident | undefined;
  /** Whose a far address is. */
  at(address: Address): Address | undefined;
  list(): readonly (Resident & { readonly party: Address })[];
}

/** Keeps them in the store: a key is durable before anything is announced under it. */
export function createResidents(options: {
  readonly store: Store;
  readonly clock: Clock;
  readonly bridges: readonly Bridge[];
  readonly limit: number;
}): Residents {
  const { store, clock, limit } = options;
  const residences = new Map(
    options.bridges.flatMap(({ name, residence }) => (residence === undefined ? [] : [[name, residence]])),
  );
  /** By party: those that are open, and those that were given up. */
  const living = new Map<Address, readonly ResidentRow[]>();
  const ended = new Map<Address, readonly ResidentRow[]>();
  const parties = new Map<Address, Address>();
  /** One change at a time: each begins from what the one before has left on disk. */
  const inTurn = createTurns();
  const schemes = new Set(['app', 'room', ...options.bridges.map(({ name }) => name)]);
  const kept = store.read.residents().sort((a, b) => (a.ended_at ?? a.since) - (b.ended_at ?? b.since));
  for (const [party, rows] of Map.groupBy(kept, row => row.party)) {
    const open = rows.filter(row => row.ended_at === null);
    // Whom no bridge speaks for any more cannot be written to; where the bridge comes back, so does the address.
    if (open.length > 0 && schemes.has(schemeOf(party))) {
      opened(open);
    } else {
      ended.set(party, rows);
    }
  }

  function opened(rows: readonly ResidentRow[]): void {
    for (const row of rows) {
      living.set(row.party, rows);
      ended.delete(row.party);
      parties.set(row.address, row.party);
      residences.get(row.bridge)?.open(row);
    }
  }

  function closed(party: Address): readonly ResidentRow[] {
    const rows = living.get(party) ?? [];
    living.delete(party);
    for (const { address, bridge } of rows) {
      parties.delete(address);
      residences.get(bridge)?.close(address);
    }
    return rows;
  }

  function rowsFor(party: Address, name: string): readonly ResidentRow[] {
    const before = living.get(party) ?? ended.get(party) ?? [];
    const shown = shownName(name) ?? shownName(nameOf(party)) ?? party;
    if (!living.has(party) && living.size >= limit) {
      throw new GatewayError(
        'store/full',
        `${limit} rooms, people and apps have an address of their own already: bridges.lxmf.residents allows more`,
      );
    }
    return [...residences].map(([bridge, residence]) => {
      const kept = before.find(row => row.bridge === bridge);
      return kept === undefined
        ? { ...residence.make(), party, bridge, name: shown, since: clock.now(), ended_at: null }
        : { ...kept, name: shown, ended_at: null };
    });
  }

  const residentOf = (rows: readonly ResidentRow[]): Resident => ({
    name: rows[0]?.name ?? '',
    addresses: rows.map(row => row.address),
  });

  return {
    host: (party, name) =>
      inTurn(async () => {
        const before = living.get(party);
        const rows = rowsFor(party, name);
        const same = before?.length === rows.length && rows.every(row => row.name === before[0]?.name);
        if (!same && rows.length > 0) {
          await store.committer.commit('residents.put', { rows, remembered: limit });
          opened(rows);
        }
        return residentOf(rows);
      }),
    giveUp: party =>
      inTurn(async () => {
        const rows = living.get(party)?.map(row => ({ ...row, ended_at: clock.now() }));
        if (rows !== undefined) {
          await store.committer.commit('residents.put', { rows, remembered: limit });
          closed(party);
          ended.set(party, rows);
          forgetOldest();
        }
      }),
    draft: rowsFor,
    opened,
    removed(party) {
      closed(party);
    },
    of(party) {
      const rows = living.get(party);
      return rows && residentOf(rows);
    },
    at: address => parties.get(address),
    list: () => [...living].map(([party, rows]) => ({ party, ...residentOf(rows) })),
  };

  /** In step with the rows: insertion order is the order in which they ended. */
  function forgetOldest(): void {
    if (ended.size > limit) {
      ended.delete(ended.keys().next().value as Address);
    }
  }
}
