import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { Client } from '../../gateway/desk.ts';
import { invalid } from '../schema.ts';

/** In its string form, or bare. Source: draft-ietf-httpapi-idempotency-key-header; RFC 8941 §3.3.3. */
const keyShape = /^(?:"(?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\]){1,255}"|[\x21\x23-\x7e]{1,255})$/;

/** What the answer to a repeat says besides, for the document. */
export const replayed = { 'Idempotency-Replayed': 'true where this key was answered before' };

/** The header, for the document; what a repeat does not do. */
export function idempotent(what: string) {
  const about = `a key of your own: a repeat under it gives the first answer and ${what}`;
  return { 'Idempotency-Key': z.string().regex(keyShape).describe(about) };
}

/**
 * What is made under a key is called by it, so that a repeat finds it: 32 hex digits that nobody else can tell, and that are no
 * other client's.
 */
export function keyedId(client: Client, key: string): string {
  return createHash('sha256').update(`${client.id}\n${key}`).digest('hex').slice(0, 32);
}

/** The key of an `Idempotency-Key` header, in its string form (`"abc"`) or bare. */
export function idempotencyKey(header: string | undefined): string | undefined {
  if (header === undefined) {
    return undefined;
  }
  const text = header.trim();
  const key = /^".*"$/.test(text) ? text.slice(1, -1).replaceAll(/\\(["\\])/g, '$1') : text;
  if (!keyShape.test(text)) {
    const detail = 'a key of 1 to 255 printable ASCII characters, bare or in double quotes';
    throw invalid([{ pointer: '/header/idempotency-key', detail }]);
  }
  return key;
}
