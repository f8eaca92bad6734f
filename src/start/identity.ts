import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Config } from '../config.ts';
import { writeDurably } from '../gateway/store/synced.ts';
import { GatewayError } from '../lib/errors.ts';
import type { Random } from '../lib/random.ts';
import {
  decodeIdentity,
  encodeIdentity,
  generateIdentity,
  type Identity,
} from '../mesh/reticulum/identity.ts';

/**
 * Under which other nodes know the hub: its own Identity where it forwards, where programs of this machine use it, or
 * where it is told to; else one that lasts until the next start, so that nobody can tell from what a node says of itself
 * that it is the same again.
 */
export function transportIdentityOf(
  { hub, sharedInstance }: Config,
  own: Identity,
  random: Random,
): Identity {
  const lasts = hub.transport || hub.staticTransportIdentity || sharedInstance !== undefined;
  return lasts ? own : generateIdentity(random);
}

const fileName = 'identity';

/**
 * The hub's Identity, made at the first start: 64 bytes in the reference's file format, 0600, on disk
 * before anything is announced under it. Throws `store/unavailable` where the file is not one.
 */
export function openIdentity(data: string, random: Random): Identity {
  return openIdentityFile(join(data, fileName), random);
}

/** The Identity in a file, as the reference writes it; made where there is none. Throws `store/unavailable` as `openIdentity` does. */
export function openIdentityFile(path: string, random: Random): Identity {
  if (existsSync(path)) {
    try {
      return decodeIdentity(readFileSync(path));
    } catch (cause) {
      throw new GatewayError('store/unavailable', `${path} is no identity file: it must have 64 bytes`, {
        cause,
      });
    }
  }
  const identity = generateIdentity(random);
  writeDurably(dirname(path), basename(path), encodeIdentity(identity));
  return identity;
}
