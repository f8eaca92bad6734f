import { codeOf } from '../../../src/lib/errors.ts';
import { systemRandom } from '../../../src/lib/random.ts';
import type { LocalDestination } from '../../../src/mesh/reticulum/destination.ts';
import {
  generateIdentity,
  Identity,
  PublicIdentity,
  ratchetId,
} from '../../../src/mesh/reticulum/identity.ts';
import { importPrivate, keyLength, publicOf } from '../../../src/mesh/reticulum/keys.ts';
import { decodeRatchets, RatchetRing, retainedRatchets } from '../../../src/mesh/reticulum/ratchet.ts';
import type { Commands, Params } from '../command.ts';
import {
  bytesIf,
  bytesOf,
  flagOf,
  hex,
  hexOrNull,
  integerIf,
  numberIf,
  numberOf,
  textsOf,
} from '../params.ts';
import { type Node, nodeOf } from './node.ts';
import { destinationOf } from './state.ts';

/** The id of the ratchet that last sealed or opened something of a destination. */
const latest = new WeakMap<LocalDestination, Uint8Array>();

export const commands: Commands = {
  wire_read_ratchets(params) {
    const destination = destinationOf(params);
    const ring = ringOf(params);
    return {
      ratchet_count: ring.kept.length,
      current_ratchet_id: idAt(ring, 0),
      previous_ratchet_id: idAt(ring, 1),
      ratchet_interval: ring.interval / 1000,
      retained_ratchets: ring.retained,
      latest_ratchet_id: hexOrNull(latest.get(destination)),
      latest_ratchet_time: (ring.kept[0]?.created ?? 0) / 1000,
    };
  },

  wire_set_ratchet_interval(params) {
    const ring = ringOf(params);
    const ok = accepted(() => {
      ring.interval = numberOf(params, 'seconds') * 1000;
    });
    return { ok, ratchet_interval: ring.interval / 1000 };
  },

  async wire_rotate_ratchet(params) {
    const node = nodeOf(params);
    const ring = ringOf(params);
    const ago = numberIf(params, 'last_rotation_ago_s');
    if (ago !== undefined) backdate(node, destinationOf(params), ago);
    const before = { count: ring.kept.length, current: idAt(ring, 0) };
    await ring.announced();
    return {
      rotated: ring.kept.length > before.count,
      before_count: before.count,
      after_count: ring.kept.length,
      before_current_id: before.current,
      current_ratchet_id: idAt(ring, 0),
      previous_ratchet_id: idAt(ring, 1),
      ratchet_interval: ring.interval / 1000,
      latest_ratchet_time: (ring.kept[0]?.created ?? 0) / 1000,
    };
  },

  async wire_set_retained_ratchets(params) {
    const node = nodeOf(params);
    const ring = ringOf(params);
    const padTo = integerIf(params, 'pad_to') ?? 0;
    // The suite fills the list past what is kept: here it takes as many as it ever does.
    if (padTo > ring.kept.length) ring.retained = retainedRatchets;
    for (let made = ring.kept.length; made < padTo; made++) {
      node.clock.ahead += ring.interval;
      await ring.announced();
    }
    const ok = accepted(() => {
      ring.retained = numberOf(params, 'n');
    });
    return {
      ok,
      retained_ratchets: ring.retained,
      ratchet_count: ring.kept.length,
      ratchet_count_cap: retainedRatchets,
    };
  },

  /** What is stored of a destination's ratchets, read back as after a restart. */
  wire_ratchet_file_roundtrip(params) {
    const node = nodeOf(params);
    const destination = destinationOf(params);
    const before = ringOf(params);
    const stored = [...node.storage.load('ratchet')].find(({ key }) => key === destination.key);
    let after: RatchetRing | undefined;
    try {
      after = stored && new RatchetRing(destination.hash, decodeRatchets(stored.value), node);
    } catch {
      after = undefined;
    }
    const ids = idsOf(after);
    return {
      ratchets_path_set: stored !== undefined,
      reload_ok: after !== undefined,
      ratchet_count_before: before.kept.length,
      ratchet_count_after: ids.length,
      roundtrip_match: after !== undefined && ids.join() === idsOf(before).join(),
      ratchet_ids: ids,
    };
  },

  async wire_destination_latest_ratchet_id(params) {
    const node = nodeOf(params);
    const destination = destinationOf(params);
    const ring = ringOf(params);
    const given = bytesIf(params, 'data');
    const probe = given?.length ? given : node.random.bytes(13);
    const ratchet = await ring.announced();
    const sealed = destination.identity!.public.encrypt(probe, node.random, ratchet);
    const sealedFor = ratchetId(ratchet);
    const { plaintext, ratchetId: openedBy } = destination.open(sealed, ring);
    if (openedBy !== undefined) latest.set(destination, openedBy);
    return {
      decrypted: hex(plaintext) === hex(probe),
      plaintext: hex(plaintext),
      latest_ratchet_id: hexOrNull(openedBy),
      encrypt_ratchet_id: hex(sealedFor),
      current_ratchet_id: idAt(ring, 0),
      match: openedBy !== undefined && hex(openedBy) === hex(sealedFor),
      ratchet_count: ring.kept.length,
    };
  },

  wire_get_adopted_ratchet(params) {
    const ratchet = nodeOf(params).transport.recall(bytesOf(params, 'destination_hash', 16))?.ratchet;
    return {
      found: ratchet !== undefined,
      ratchet_public: hexOrNull(ratchet),
      ratchet_id: ratchet === undefined ? null : hex(ratchetId(ratchet)),
    };
  },

  wire_encrypt_to_remote(params) {
    const node = nodeOf(params);
    const known = node.transport.recall(bytesOf(params, 'destination_hash', 16));
    if (known === undefined) throw new Error('no announce of the destination was heard');
    const ratchet = flagOf(params, 'use_ratchet', true) ? known.ratchet : undefined;
    const plaintext = bytesIf(params, 'plaintext') ?? new Uint8Array(0);
    return {
      ciphertext: hex(known.identity.encrypt(plaintext, node.random, ratchet)),
      used_ratchet: ratchet !== undefined,
      ratchet_id: ratchet === undefined ? null : hex(ratchetId(ratchet)),
      ratchet_public: hexOrNull(ratchet),
    };
  },

  wire_destination_decrypt(params) {
    const node = nodeOf(params);
    const destination = destinationOf(params);
    try {
      const opened = destination.open(bytesOf(params, 'ciphertext'), node.transport.ratchets(destination));
      return {
        decrypted: true,
        plaintext: hex(opened.plaintext),
        latest_ratchet_id: hexOrNull(opened.ratchetId),
      };
    } catch (error) {
      return { ...refusedToOpen(error), latest_ratchet_id: null };
    }
  },

  wire_identity_keypair() {
    const identity = generateIdentity(systemRandom);
    return {
      private_key: hex(identity.exportPrivateKey()),
      public_key: hex(identity.publicKey),
      hash: hex(identity.hash),
    };
  },

  wire_ratchet_keypair() {
    const secret = systemRandom.bytes(keyLength);
    return { private_key: hex(secret), public_key: hex(publicOf(importPrivate('x25519', secret))) };
  },

  wire_identity_encrypt(params) {
    const identity = new PublicIdentity(bytesOf(params, 'public_key', 64));
    const plaintext = bytesIf(params, 'plaintext') ?? new Uint8Array(0);
    return { ciphertext: hex(identity.encrypt(plaintext, systemRandom, bytesIf(params, 'ratchet_pub'))) };
  },

  wire_identity_decrypt(params) {
    const identity = new Identity(bytesOf(params, 'private_key', 64));
    const ratchets = textsOf(params, 'ratchets').map(text => {
      const key = importPrivate('x25519', Uint8Array.fromHex(text));
      return { key, id: ratchetId(publicOf(key)) };
    });
    try {
      const enforce = flagOf(params, 'enforce_ratchets', false);
      const { plaintext } = identity.open(bytesOf(params, 'ciphertext'), ratchets, enforce);
      return { plaintext: hex(plaintext), decrypted: true };
    } catch (error) {
      return refusedToOpen(error);
    }
  },
};

/** What an announce with ratchets says of them. */
export function announcedRatchets(node: Node, destination: LocalDestination) {
  const ring = node.transport.ratchets(destination);
  return {
    ratchets_enabled: ring !== undefined,
    current_ratchet_id: ring === undefined ? null : idAt(ring, 0),
    ratchet_count: ring?.kept.length ?? 0,
  };
}

/** Sets the node's clock so that the newest ratchet is so many seconds old. */
export function backdate(node: Node, destination: LocalDestination, ago: number): void {
  const newest = node.transport.ratchets(destination)?.kept[0];
  if (newest !== undefined) node.clock.ahead += newest.created + ago * 1000 - node.clock.now();
}

function ringOf(params: Params): RatchetRing {
  const ring = nodeOf(params).transport.ratchets(destinationOf(params));
  if (ring === undefined) throw new Error('the destination has no ratchets');
  return ring;
}

function idsOf(ring: RatchetRing | undefined): string[] {
  return (ring?.kept ?? []).map(({ privateKey }) =>
    hex(ratchetId(publicOf(importPrivate('x25519', privateKey)))),
  );
}

function idAt(ring: RatchetRing, index: number): string | null {
  return idsOf(ring)[index] ?? null;
}

function accepted(set: () => void): boolean {
  try {
    set();
    return true;
  } catch (error) {
    if (codeOf(error) !== 'config/invalid') throw error;
    return false;
  }
}

function refusedToOpen(error: unknown) {
  const code = codeOf(error);
  if (code !== 'crypto/undecryptable' && code !== 'wire/truncated') throw error;
  return { plaintext: null, decrypted: false };
}
