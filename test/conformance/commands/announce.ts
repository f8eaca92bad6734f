import { systemClock } from '../../../src/lib/clock.ts';
import { systemRandom } from '../../../src/lib/random.ts';
import { decodeAnnounce, verifyAnnounce } from '../../../src/mesh/reticulum/announce.ts';
import { defaultCap, queueLifetime, queueLimit } from '../../../src/mesh/reticulum/announce-pacer.ts';
import { Announcer } from '../../../src/mesh/reticulum/announcer.ts';
import { LocalDestination } from '../../../src/mesh/reticulum/destination.ts';
import { decodeIdentity, PublicIdentity } from '../../../src/mesh/reticulum/identity.ts';
import { decodePacket, type Packet } from '../../../src/mesh/reticulum/packet.ts';
import { RatchetRing } from '../../../src/mesh/reticulum/ratchet.ts';
import { MemoryStorage } from '../../mesh/reticulum/memory-storage.ts';
import type { Commands, Params } from '../command.ts';
import { bytesIf, bytesOf, flagOf, hex, hexOrNull, numberIf, textOf, textsOf } from '../params.ts';

/** A destination of ours is announced as the node itself does it, but to nobody. */
async function build(params: Params): Promise<Uint8Array> {
  const destination = new LocalDestination({
    identity: decodeIdentity(bytesOf(params, 'private_key')),
    appName: textOf(params, 'app_name'),
    aspects: textsOf(params, 'aspects'),
    ratchets: flagOf(params, 'enable_ratchets', false),
  });
  const emitted = numberIf(params, 'emission_ts');
  const clock = emitted === undefined ? systemClock : { ...systemClock, now: () => emitted * 1000 };
  const parts = { clock, random: systemRandom, storage: new MemoryStorage() };
  const ring = destination.ratchets ? new RatchetRing(destination.hash, [], parts) : undefined;
  const appData = bytesIf(params, 'app_data');
  return new Announcer(parts).make(destination, ring, {
    appData: appData?.length === 0 ? undefined : appData,
  });
}

function decoded(raw: Uint8Array): Packet | undefined {
  try {
    return decodePacket(raw);
  } catch {
    return undefined;
  }
}

function isValid(packet: Packet): boolean {
  try {
    const announce = decodeAnnounce(packet);
    return verifyAnnounce(packet, announce, new PublicIdentity(announce.publicKey));
  } catch {
    return false;
  }
}

export const commands: Commands = {
  announce_queue_constants: () => ({
    announce_cap: defaultCap * 100,
    max_queued_announces: queueLimit,
    queued_announce_life: queueLifetime / 1000,
  }),
  announce_build: async params => {
    const raw = await build(params);
    const packet = decodePacket(raw);
    const announce = decodeAnnounce(packet);
    return {
      raw: hex(raw),
      destination_hash: hex(packet.destinationHash),
      announce_data: hex(packet.data),
      public_key: hex(announce.publicKey),
      name_hash: hex(announce.nameHash),
      random_hash: hex(announce.randomBlob),
      ratchet: hexOrNull(announce.ratchet) ?? '',
      signature: hex(announce.signature),
      app_data: hexOrNull(announce.appData) ?? '',
      has_ratchet: announce.ratchet !== undefined,
    };
  },
  announce_validate: params => {
    const packet = decoded(bytesOf(params, 'raw'));
    if (packet === undefined) return { valid: false, error: 'unpack_failed' };
    if (packet.packetType !== 'announce') return { valid: false, error: 'not_an_announce' };
    const valid = isValid(packet);
    const ratchet = valid ? decodeAnnounce(packet).ratchet : undefined;
    return {
      valid,
      destination_hash: hex(packet.destinationHash),
      has_ratchet: packet.contextFlag,
      ...(ratchet && { ratchet: hex(ratchet) }),
    };
  },
};
