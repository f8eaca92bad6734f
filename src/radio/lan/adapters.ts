import type { Adapters } from '../network.ts';

/** A network adapter with an address that discovery can use. */
export interface Place {
  /** The adapter's name. */
  readonly adapter: string;
  /** Its link-local IPv6 address, without the adapter. */
  readonly address: string;
  /** The adapter's number: another one of the same name has another. */
  readonly index: number;
}

/** One that is not used, and why, for people. */
export interface Unused {
  readonly adapter: string;
  readonly reason: string;
}

export interface AdapterWish {
  /** Names; `*` stands for anything. None means all. */
  readonly adapters: readonly string[];
  readonly ignore: readonly string[];
}

/** Adapters that are used at once; each has three sockets. */
export const maxAdapters = 32;

/**
 * Which adapters to use, and why not the others. Where an adapter has several link-local addresses, the
 * one in use is kept as long as it is there.
 */
export function chooseAdapters(
  present: Adapters,
  { adapters, ignore }: AdapterWish,
  inUse: ReadonlyMap<string, Place>,
): { readonly use: readonly Place[]; readonly unused: readonly Unused[] } {
  const use: Place[] = [];
  const unused: Unused[] = [];
  const leave = (adapter: string, reason: string) => void unused.push({ adapter, reason });
  for (const [adapter, addresses = []] of Object.entries(present)) {
    const local = addresses.filter(one => one.family === 'IPv6' && isLinkLocal(one.address));
    const kept = local.find(({ address }) => address === inUse.get(adapter)?.address) ?? local[0];
    if (addresses.every(({ internal }) => internal)) {
      leave(adapter, 'leads nowhere');
    } else if (isNamed(adapter, ignore)) {
      leave(adapter, 'is to be ignored');
    } else if (adapters.length > 0 && !isNamed(adapter, adapters)) {
      leave(adapter, 'is not among the adapters to use');
    } else if (kept === undefined) {
      leave(adapter, 'has no link-local IPv6 address');
    } else if (use.length >= maxAdapters) {
      leave(adapter, `is one more than the ${maxAdapters} that are used`);
    } else {
      use.push({ adapter, address: kept.address, index: kept.scopeid ?? 0 });
    }
  }
  for (const wanted of adapters) {
    if (!wanted.includes('*') && present[wanted] === undefined) {
      leave(wanted, 'is not there, is down, or has no address');
    }
  }
  return { use, unused };
}

/** Whether an address, without the adapter, is of fe80::/10. */
export function isLinkLocal(address: string): boolean {
  return /^fe[89ab][0-9a-f]:/i.test(address);
}

function isNamed(adapter: string, names: readonly string[]): boolean {
  return names.some(name =>
    name.includes('*')
      ? new RegExp(`^${name.split('*').map(RegExp.escape).join('.*')}$`).test(adapter)
      : name === adapter,
  );
}
