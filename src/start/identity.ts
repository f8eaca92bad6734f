import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { GatewayError } from '../lib/errors.ts';
import type { Random } from '../lib/random.ts';
import {
  decodeIdentity,
  encodeIdentity,
  generateIdentity,
  type Identity,
} from '../mesh/reticulum/identity.ts';

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
  const fresh = `${path}.new`;
  const file = openSync(fresh, 'w', 0o600);
  try {
    writeSync(file, encodeIdentity(identity));
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(fresh, path);
  const folder = openSync(data, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
  return identity;
}
