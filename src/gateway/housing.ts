import type { Counters } from '../lib/counters.ts';
import { codeOf } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { ClientBook } from './clients.ts';
import { nameOf, schemeOf } from './message.ts';
import type { Residents } from './residents.ts';

export interface HousingParts {
  readonly residents: Residents;
  readonly clients: ClientBook;
  /** Of the configuration, by name. */
  readonly rooms: Readonly<Record<string, unknown>>;
  readonly counters: Counters;
  readonly log: Log;
}

/**
 * Every room of the configuration has an address; one that is not there any more, and an app whose token has run out,
 * has none. What the store cannot take now is tried again at the next time.
 */
export async function house(parts: HousingParts): Promise<void> {
  const { residents, clients, counters, log } = parts;
  const wanted = new Set(Object.keys(parts.rooms).map(room => `room:${room}`));
  for (const { name, identity } of clients.active()) {
    if (identity === 'own') {
      wanted.add(`app:${name}`);
    }
  }
  const gone = residents
    .list()
    .filter(({ party }) => ['room', 'app'].includes(schemeOf(party)) && !wanted.has(party));
  try {
    for (const { party } of gone) {
      await residents.giveUp(party);
    }
    for (const party of wanted) {
      // Known ones need nothing written; what is wanted may have been revoked while others were written.
      const isGone = schemeOf(party) === 'app' && !clients.active().some(one => `app:${one.name}` === party);
      if (!isGone && residents.of(party) === undefined) {
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
