import { isGatewayError } from '../../lib/errors.ts';
import { fields } from '../../mesh/lxmf/fields.ts';
import type { LxmfFields } from '../../mesh/lxmf/message.ts';
import { rawValue } from '../../mesh/lxmf/raw-value.ts';
import { fromBase64 } from './klp.ts';

/**
 * LXMF fields that a Message has no member for, under `lxmf:<number>` (or `lxmf:"<text>"` where a sender
 * used text) as base64 of the msgpack value, byte for byte.
 */
export type Native = Readonly<Record<string, string>>;

const prefix = 'lxmf:';
/** Secrets between two peers: neither shown to anybody nor handed on. */
const secret: ReadonlySet<number | string> = new Set([fields.ticket]);

/** The native part for all fields but those in `read`; undefined where nothing is left. */
export function toNative(of: LxmfFields, read: ReadonlySet<number | string>): Native | undefined {
  const kept = [...of].filter(([key]) => !read.has(key) && !secret.has(key));
  if (kept.length === 0) {
    return undefined;
  }
  return Object.fromEntries(kept.map(([key, raw]) => [nativeKey(key), raw.toBase64()]));
}

/** One field as an entry of the native part. */
export function nativeEntry(key: number | string, raw: Uint8Array): Native {
  return { [nativeKey(key)]: raw.toBase64() };
}

/** The fields of a native part. What is not one whole msgpack value, or not ours, is left out: clients may write here. */
export function fromNative(native: Native | undefined): LxmfFields {
  const found = new Map<number | string, Uint8Array>();
  for (const [name, text] of Object.entries(native ?? {})) {
    const key = fieldKey(name);
    const raw = fromBase64(text);
    if (key !== undefined && !secret.has(key) && raw !== undefined && isOneValue(raw)) {
      found.set(key, raw);
    }
  }
  return found;
}

function nativeKey(key: number | string): string {
  return `${prefix}${JSON.stringify(key)}`;
}

function fieldKey(name: string): number | string | undefined {
  if (!name.startsWith(prefix)) {
    return undefined;
  }
  const text = name.slice(prefix.length);
  if (/^-?\d{1,16}$/.test(text)) {
    return Number(text);
  }
  try {
    const key: unknown = text.startsWith('"') ? JSON.parse(text) : undefined;
    return typeof key === 'string' ? key : undefined;
  } catch {
    return undefined;
  }
}

function isOneValue(raw: Uint8Array): boolean {
  try {
    return rawValue(raw, 0, 'native field').length === raw.length;
  } catch (error) {
    if (isGatewayError(error)) {
      return false;
    }
    throw error;
  }
}
