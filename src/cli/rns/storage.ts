import { type Dirent, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { toHex } from '../../lib/bytes.ts';
import { GatewayError, isGatewayError } from '../../lib/errors.ts';
import { decode, Float, type MsgpackValue } from '../../lib/msgpack.ts';
import { decodeAnnounce, verifyAnnounce } from '../../mesh/reticulum/announce.ts';
import { decodeIdentity, type Identity, PublicIdentity } from '../../mesh/reticulum/identity.ts';
import type { Known } from '../../mesh/reticulum/known.ts';
import { decodePacket, packetHash } from '../../mesh/reticulum/packet.ts';
import type { Ratchet } from '../../mesh/reticulum/ratchet.ts';
import type { Findings } from './keys.ts';

/** Files of one folder that are looked at, and bytes of one of them. */
const filesMost = 50_000;
const smallFile = 64 * 1024;
const knownFile = 64 * 1024 * 1024;
/** Ratchets of one destination that are taken: as many as are kept. */
const ratchetsMost = 512;
/** ms between two ratchets of the reference, newest first: their file does not say when each was made. */
const ratchetInterval = 30 * 60_000;

/** The private key file of an identity, as the reference writes it; undefined where there is none. */
export function readIdentityFile(file: string, findings: Findings): Identity | undefined {
  const bytes = readBounded(file, smallFile, findings);
  if (bytes === undefined) {
    return undefined;
  }
  try {
    return decodeIdentity(bytes);
  } catch {
    findings.left.push({ what: file, why: 'not an identity: it must have 64 bytes' });
    return undefined;
  }
}

/**
 * Destinations whose last announce the reference has kept, with their newest ratchets. Each announce is verified like
 * one that came from the air. What it only remembers without the announce cannot be told to others, and is left.
 */
export function readKnown(storage: string, findings: Findings): Known[] {
  const heard = heardOf(join(storage, 'known_destinations'), findings);
  const ratchets = join(storage, 'ratchets');
  const found = new Map<string, Known>();
  for (const name of filesOf(join(storage, 'cache', 'announces'), findings)) {
    const bytes = readBounded(join(storage, 'cache', 'announces', name), smallFile, findings);
    const known = bytes && announceOf(bytes, heard);
    if (known === undefined) {
      continue;
    }
    const key = toHex(known.destinationHash);
    const before = found.get(key);
    if (before === undefined || before.heard < known.heard) {
      found.set(key, { ...known, ...ratchetOf(join(ratchets, key), known) });
    }
  }
  const without = [...heard.keys()].filter(key => !found.has(key)).length;
  if (found.size > 0) {
    findings.taken.push({ what: 'known destinations', why: `${found.size}, with their announces` });
  }
  if (without > 0) {
    findings.left.push({
      what: 'known destinations',
      why: `${without} without their announce: they are known again when they announce or are asked for`,
    });
  }
  return [...found.values()];
}

/** Identities whose announces the reference leaves out, as 32 hex digits each. */
export function readBlackhole(storage: string, findings: Findings): string[] {
  const bytes = readBounded(join(storage, 'blackhole', 'local'), knownFile, findings);
  const list = bytes && decoded(bytes);
  if (!(list instanceof Map)) {
    return [];
  }
  return [...list.keys()].flatMap(key =>
    key instanceof Uint8Array && key.length === 16 ? [toHex(key)] : [],
  );
}

/** The ratchets of a destination of one's own, newest first, where the identity has signed their file. */
export function readRatchets(file: string, identity: Identity, now: number, findings: Findings): Ratchet[] {
  const bytes = readBounded(file, 1024 * 1024, findings);
  const kept = bytes && decoded(bytes);
  const signature = kept instanceof Map ? kept.get('signature') : undefined;
  const packed = kept instanceof Map ? kept.get('ratchets') : undefined;
  if (!(signature instanceof Uint8Array && packed instanceof Uint8Array)) {
    return [];
  }
  const keys = new PublicIdentity(identity.publicKey).verify(signature, packed) ? decoded(packed) : undefined;
  if (!Array.isArray(keys)) {
    findings.left.push({ what: file, why: 'not signed by the identity' });
    return [];
  }
  return keys
    .filter((key): key is Uint8Array => key instanceof Uint8Array && key.length === 32)
    .slice(0, ratchetsMost)
    .map((privateKey, place) => ({ privateKey, created: now - place * ratchetInterval }));
}

/** When each destination was heard last, ms, by its hash in hex. */
function heardOf(file: string, findings: Findings): Map<string, number> {
  const bytes = readBounded(file, knownFile, findings);
  const table = bytes && decoded(bytes);
  const heard = new Map<string, number>();
  if (table instanceof Map) {
    for (const [key, value] of table) {
      const [at] = Array.isArray(value) ? value : [];
      if (key instanceof Uint8Array && key.length === 16) {
        heard.set(toHex(key), Math.round((at instanceof Float ? at.value : Number(at) || 0) * 1000));
      }
    }
  }
  return heard;
}

function announceOf(bytes: Uint8Array, heard: ReadonlyMap<string, number>): Known | undefined {
  const [raw] = (decoded(bytes) ?? []) as readonly MsgpackValue[];
  if (!(raw instanceof Uint8Array)) {
    return undefined;
  }
  try {
    const packet = decodePacket(raw);
    const announce = decodeAnnounce(packet);
    const identity = new PublicIdentity(announce.publicKey);
    if (packet.packetType !== 'announce' || !verifyAnnounce(packet, announce, identity)) {
      return undefined;
    }
    return {
      destinationHash: packet.destinationHash,
      identity,
      nameHash: announce.nameHash,
      appData: announce.appData,
      ratchet: announce.ratchet,
      ratchetHeard: 0,
      heard: heard.get(toHex(packet.destinationHash)) ?? 0,
      packetHash: packetHash(raw),
      announce: packet.data,
      announceHasRatchet: packet.contextFlag,
      used: false,
    };
  } catch (error) {
    if (isGatewayError(error)) {
      return undefined;
    }
    throw error;
  }
}

/** The ratchet that lies beside, where the announce has none or an older one. */
function ratchetOf(file: string, known: Known): Pick<Known, 'ratchet' | 'ratchetHeard'> {
  const kept = readQuietly(file);
  const value = kept && decoded(kept);
  const ratchet = value instanceof Map ? value.get('ratchet') : undefined;
  const received = value instanceof Map ? value.get('received') : undefined;
  const at = received instanceof Float ? Math.round(received.value * 1000) : 0;
  if (known.ratchet !== undefined) {
    return { ratchet: known.ratchet, ratchetHeard: at || known.heard };
  }
  return ratchet instanceof Uint8Array && ratchet.length === 32
    ? { ratchet, ratchetHeard: at }
    : { ratchet: undefined, ratchetHeard: 0 };
}

function decoded(bytes: Uint8Array): MsgpackValue | undefined {
  try {
    return decode(bytes, { maxItems: 4_000_000 });
  } catch (error) {
    if (isGatewayError(error)) {
      return undefined;
    }
    throw error;
  }
}

function filesOf(folder: string, findings: Findings): string[] {
  let entries: Dirent[];
  try {
    entries = readdirSync(folder, { withFileTypes: true });
  } catch {
    return [];
  }
  const names = entries.filter(entry => entry.isFile()).map(({ name }) => name);
  if (names.length > filesMost) {
    findings.left.push({ what: folder, why: `${names.length - filesMost} of ${names.length} files` });
  }
  return names.slice(0, filesMost);
}

function readQuietly(file: string): Uint8Array | undefined {
  try {
    return statSync(file).size <= smallFile ? new Uint8Array(readFileSync(file)) : undefined;
  } catch {
    return undefined;
  }
}

/** Undefined where the file is not there. Throws `config/invalid` where it may not be read. */
function readBounded(file: string, most: number, findings: Findings): Uint8Array | undefined {
  try {
    const { size } = statSync(file);
    if (size > most) {
      findings.left.push({ what: file, why: `${size} bytes, ${most} allowed` });
      return undefined;
    }
    return new Uint8Array(readFileSync(file));
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      return undefined;
    }
    throw new GatewayError('config/invalid', `${file} cannot be read: ${code}`, { cause });
  }
}
