import type { Address } from '../../gateway/message.ts';
import type { Counters } from '../../lib/counters.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { Book } from './book.ts';
import { matrixLimits } from './config.ts';
import { deviceId, type Homeserver, path, saidBy } from './homeserver.ts';
import { botLocalpart, ghostOf, lxmfOf, watchLocalpart } from './mxid.ts';

export interface GhostParts {
  readonly homeserver: () => Homeserver;
  readonly book: Book;
  readonly serverName: string;
  readonly counters: Counters;
  /** How people call whoever has the address. */
  readonly nameOf: (address: Address) => string;
}

/** Users of ours on the homeserver: one for everybody who speaks or is spoken to, and no sooner. */
export interface Ghosts {
  /** The user that speaks for an address, registered and with its device and name. Throws as `Homeserver` does, `store/full`. */
  ensure(address: Address, signal?: AbortSignal): Promise<string>;
  /** A user of our own that stands for nobody. */
  ensureOwn(localpart: string, name: string, signal?: AbortSignal): Promise<string>;
  /** Whom a user of ours stands for; undefined for strangers, the bot and names that mean nothing. */
  addressOf(user: string): Address | undefined;
  isOurs(user: string): boolean;
  /** The homeserver does not know this user any more: it is made again when it is needed. */
  forget(user: string): void;
  /** Somebody is called otherwise now; only a ghost that exists follows. */
  renamed(address: Address, signal?: AbortSignal): Promise<void>;
}

export function createGhosts(parts: GhostParts): Ghosts {
  const { book, serverName, counters } = parts;
  const making = new Map<string, Promise<string>>();
  const userOf = (localpart: string) => `@${localpart}:${serverName}`;
  const localpartOf = (user: string) =>
    user.startsWith('@') && user.endsWith(`:${serverName}`)
      ? user.slice(1, -serverName.length - 1)
      : undefined;

  async function make(
    localpart: string,
    address: Address,
    name: string,
    signal?: AbortSignal,
  ): Promise<string> {
    const user = userOf(localpart);
    const known = book.ghost(localpart);
    const call = signal === undefined ? {} : { signal };
    if (known === undefined) {
      if (book.ghosts() >= matrixLimits.ghosts) {
        throw new GatewayError('store/full', `${matrixLimits.ghosts} mesh peers have a user already`, {
          retryable: true,
        });
      }
      await register(localpart, call.signal);
      await parts.homeserver().request(user, 'PUT', path`/devices/${deviceId}`, {
        ...call,
        body: { display_name: 'kOS gateway' },
        bare: true,
      });
      counters.add('matrix/ghost/made');
    }
    if (known?.name !== name) {
      await parts.homeserver().request(user, 'PUT', path`/profile/${user}/displayname`, {
        ...call,
        body: { displayname: name },
      });
    }
    if (known?.name !== name || known.address !== address) {
      book.keepGhost({ localpart, address, name });
    }
    return user;
  }

  async function register(localpart: string, signal: AbortSignal | undefined): Promise<void> {
    try {
      await parts.homeserver().request(userOf(botLocalpart), 'POST', '/register', {
        ...(signal === undefined ? {} : { signal }),
        body: { type: 'm.login.application_service', username: localpart, inhibit_login: true },
        bare: true,
      });
    } catch (error) {
      if (!saidBy(error, 'M_USER_IN_USE')) {
        throw error;
      }
    }
  }

  /** One at a time for each user. */
  function ensure(localpart: string, address: Address, name: string, signal?: AbortSignal): Promise<string> {
    const shown =
      name
        .toWellFormed()
        .replace(/\p{Cc}/gu, '')
        .slice(0, matrixLimits.ghostName) || localpart;
    const known = book.ghost(localpart);
    if (known?.name === shown && known.address === address) {
      return Promise.resolve(userOf(localpart));
    }
    const under = making.get(localpart);
    if (under !== undefined) {
      return under;
    }
    const made = make(localpart, address, shown, signal).finally(() => making.delete(localpart));
    making.set(localpart, made);
    return made;
  }

  return {
    ensure: (address, signal) => ensure(ghostOf(address), address, parts.nameOf(address), signal),
    ensureOwn: (localpart, name, signal) => ensure(localpart, '', name, signal),
    addressOf(user) {
      const localpart = localpartOf(user);
      if (localpart === undefined || localpart === botLocalpart || localpart === watchLocalpart) {
        return undefined;
      }
      return book.ghost(localpart)?.address || lxmfOf(localpart);
    },
    isOurs: user => localpartOf(user)?.startsWith('_kos_') === true,
    forget(user) {
      const localpart = localpartOf(user);
      if (localpart !== undefined) {
        book.forgetGhost(localpart);
      }
    },
    async renamed(address, signal) {
      const localpart = ghostOf(address);
      if (book.ghost(localpart) !== undefined) {
        await ensure(localpart, address, parts.nameOf(address), signal);
      }
    },
  };
}
