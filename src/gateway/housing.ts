import type { Counters } from '../lib/counters.ts';
import { codeOf } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { ClientBook } from './clients.ts';
import { type Address, nameOf, schemeOf } from './message.ts';
import type { Residents } from './residents.ts';

export interface HousingParts {
  readonly residents: Residents;
  readonly clients: ClientBook;
  /** Those in force now, by name. */
  readonly rooms: Readonly<Record<string, unknown>>;
  readonly counters: Counters;
  readonly log: Log;
}

/**
 * Every room of the configuration has an address; one that is not there any more, and an app whose token has run out,
 * has none. What the store cannot take now is tried again at the next time.
 */
export async function house(parts: HousingParts): Promise<void> {
  const { residents, counters, log } = parts;
  try {
    const wanted = wantedOf(parts);
    const gone = residents
      .list()
      .filter(({ party }) => ['room', 'app'].includes(schemeOf(party)) && !wanted.has(party));
    for (const { party } of gone) {
      // It may have been made anew while others were written.
      if (!wantedOf(parts).has(party)) {
        await residents.giveUp(party);
      }
    }
    // Asked for again: one may have been made while its own address was being taken away.
    for (const party of wantedOf(parts)) {
      // Known ones need nothing written; what is wanted may have gone while others were written.
      if (residents.of(party) === undefined && wantedOf(parts).has(party)) {
        await residents.host(party, nameOf(party));
      }
    }
  } catch (error) {
    counters.add('residents/unwritten');
    log.warn(
      { code: codeOf(error), error: String(error) },
      'a room or an app could not be given its address',
    );
  }
}

/** Who is to have an address now. */
function wantedOf({ rooms, clients }: HousingParts): ReadonlySet<Address> {
  const apps = clients.active().filter(({ identity }) => identity === 'own');
  return new Set([
    ...Object.keys(rooms).map(room => `room:${room}`),
    ...apps.map(({ name }) => `app:${name}`),
  ]);
}
