import { hash } from 'node:crypto';
import type { Random } from '../lib/random.ts';

/** Why a token is not good any more, or never was. Who shows one that was good once is told so: nobody else has it. */
export type TokenFault = 'unknown' | 'expired' | 'revoked';

const shape = /^kos_[\w-]{43}$/;

/** A new token: 256 random bits, which nobody guesses. */
export function mintToken(random: Random): string {
  return `kos_${Buffer.from(random.bytes(32)).toString('base64url')}`;
}

/** Whether a token has the form of ours; one that a person chose may be one that others come upon. */
export function isMinted(token: string): boolean {
  return shape.test(token);
}

/** SHA-256 of a token: all that is kept of it. Nothing slower is needed for 256 random bits. */
export function hashOfToken(token: string): Uint8Array {
  return hash('sha256', token, 'buffer');
}

/** The same in hex, by which whoever shows it is found. */
export function printOfToken(token: string): string {
  return hash('sha256', token);
}
