import type { Clock } from '../lib/clock.ts';
import { GatewayError } from '../lib/errors.ts';
import type { Address } from './message.ts';
import type { BlockView } from './society-contract.ts';
import type { Store } from './store/store.ts';

/** Whom nothing is taken from and nothing goes to: addresses, and patterns in which `*` stands for anything. */
export interface BlockBook {
  has(address: Address): boolean;
  list(): readonly BlockView[];
  get(pattern: string): BlockView | undefined;
  /** Durable when it resolves, and in force from then on. Throws `request/invalid`, `store/full`. */
  add(pattern: string, reason?: string): Promise<BlockView>;
  /** `request/not-found` */
  remove(pattern: string): Promise<void>;
}

/** Patterns with a `*` are looked through one by one for every message; addresses are not. */
const blockLimits = { patterns: 256, addresses: 10_000, stars: 4 };

export function createBlocks(parts: {
  readonly store: Store;
  readonly clock: Clock;
  /** Somebody is blocked now who was not. */
  readonly onBlocked: () => Promise<void>;
}): BlockBook {
  const { store, clock } = parts;
  const blocks = new Map<string, BlockView>();
  const patterns = new Set<string>();
  for (const { pattern, reason, since } of store.read.blocks()) {
    keep({ pattern, since, ...(reason === null ? {} : { reason }) });
  }

  function keep(view: BlockView): void {
    blocks.set(view.pattern, view);
    if (view.pattern.includes('*')) {
      patterns.add(view.pattern);
    }
  }

  function check(pattern: string): void {
    const mistake =
      !/^[a-z]+:[^\s\p{Cc}]{0,512}$/u.test(pattern) || /^(?:room|app):/.test(pattern)
        ? 'an address, with * for anything in it: lxmf:0123…, matrix:@*:server'
        : pattern.split('*').length - 1 > blockLimits.stars
          ? `${blockLimits.stars} times * at most`
          : undefined;
    if (mistake !== undefined) {
      throw new GatewayError('request/invalid', `pattern: ${mistake}`, {
        errors: [{ pointer: '/path/pattern', detail: mistake }],
      });
    }
    const isPattern = pattern.includes('*');
    const most = isPattern ? blockLimits.patterns : blockLimits.addresses;
    const count = isPattern ? patterns.size : blocks.size - patterns.size;
    if (!blocks.has(pattern) && count >= most) {
      throw new GatewayError(
        'store/full',
        `${most} ${isPattern ? 'patterns' : 'addresses'} at most are blocked`,
      );
    }
  }

  return {
    has(address) {
      if (blocks.size === 0) {
        return false;
      }
      return blocks.has(address) || patterns.values().some(pattern => covers(pattern, address));
    },
    list: () => [...blocks.values()].sort((a, b) => (a.pattern < b.pattern ? -1 : 1)),
    get: pattern => blocks.get(pattern),
    async add(pattern, reason) {
      check(pattern);
      const view = {
        pattern,
        since: blocks.get(pattern)?.since ?? clock.now(),
        ...(reason === undefined ? {} : { reason }),
      };
      await store.committer.commit('peers.note', { blocks: [{ reason: null, ...view }] });
      keep(view);
      await parts.onBlocked();
      return view;
    },
    async remove(pattern) {
      if (!blocks.has(pattern)) {
        throw new GatewayError('request/not-found', 'that is not blocked');
      }
      await store.committer.commit('peers.note', { unblocked: [pattern] });
      blocks.delete(pattern);
      patterns.delete(pattern);
    },
  };
}

/** Whether a pattern stands for the address: its pieces between the stars come one after the other. */
export function covers(pattern: string, address: Address): boolean {
  const [first = '', ...rest] = pattern.split('*');
  const end = rest.pop();
  if (end === undefined) {
    return pattern === address;
  }
  if (!address.startsWith(first)) {
    return false;
  }
  let at = first.length;
  for (const piece of rest) {
    const found = address.indexOf(piece, at);
    if (found < 0) {
      return false;
    }
    at = found + piece.length;
  }
  return address.length - end.length >= at && address.endsWith(end);
}
