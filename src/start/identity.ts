import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { GatewayError } from '../lib/errors.ts';
import type { Random } from '../lib/random.ts';
import {
  decodeIdentity,
  encodeIdentity,
  generateIdentity,
  type Identity,
} from '../mesh/reticulum/identity.ts';
import { writeDurably } from './durable-file.ts';

const fileName = 'identity';

/**
 * The hub's Identity, made at the first start: 64 bytes in the reference's file format, 0600, on disk
 * before anything is announced under it. Throws `store/unavailable` where the file is not one.
 */
export function openIdentity(data: string, random: Random): Identity {
  const path = join(data, fileName);
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
  writeDurably(data, fileName, encodeIdentity(identity));
  return identity;
}
