import { Counters } from '../../../src/lib/counters.ts';
import { silentLog } from '../../../src/lib/log.ts';
import type { InterfacePort } from '../../../src/mesh/interface.ts';
import { LocalDestination } from '../../../src/mesh/reticulum/destination.ts';
import { generateIdentity, type Identity } from '../../../src/mesh/reticulum/identity.ts';
import { importPrivate, keyLength, publicOf } from '../../../src/mesh/reticulum/keys.ts';
import { encodeKnown, KnownDestinations } from '../../../src/mesh/reticulum/known.ts';
import { decodePacket, packetMtu } from '../../../src/mesh/reticulum/packet.ts';
import { Transport } from '../../../src/mesh/reticulum/transport.ts';
import { MemoryStorage } from '../../mesh/reticulum/memory-storage.ts';
import type { Commands } from '../command.ts';
import { bytesIf, bytesOf, hex, hexOrNull, textIf, textOf, textsOf } from '../params.ts';
import { announceOf, asideOf, strangerOf } from './aside.ts';
import { type Node, nodeOf } from './node.ts';
import { until } from './waiting.ts';

const kind = 'identity-heard';

/** What is known of others, across a restart. */
export const commands: Commands = {
  /** A genuine announce, heard by a node that knows this key or another one for its destination. */
  async wire_known_key_validate(params) {
    const node = nodeOf(params);
    const plant = textIf(params, 'plant') || 'mismatch';
    const identity = generateIdentity(node.random);
    const name = { appName: textOf(params, 'app_name'), aspects: textsOf(params, 'aspects') };
    const destination = new LocalDestination({ identity, ...name });
    const storage = new MemoryStorage();
    let planted: Identity | undefined;
    if (plant !== 'none') {
      planted = plant === 'match' ? identity : generateIdentity(node.random);
      await remember(node, storage, destination, new LocalDestination({ identity: planted, ...name }));
    }
    const appData = bytesIf(params, 'app_data');
    const raw = announceOf(node, destination, appData?.length ? appData : undefined);
    return {
      validated: await isTaken(node, storage, destination, raw),
      destination_hash: destination.key,
      public_key: hex(identity.publicKey),
      planted_public_key: hexOrNull(planted?.publicKey),
      plant,
    };
  },

  /** A ratchet that was heard: it is stored with what else its announce said, and forgotten with it. */
  async wire_identity_ratchet_persist(params) {
    const node = nodeOf(params);
    const destination = strangerOf(node, 'ratchet-persist');
    const ratchet = publicOf(importPrivate('x25519', node.random.bytes(keyLength)));
    (await asideOf(node)).say(announceOf(node, destination, undefined, ratchet));
    const storage = await stored(node, destination.key);
    const reloaded = tableOf(node, storage).get(destination.key)?.ratchet;
    const written = isIn(storage, destination.key);
    const leftover = [...storage.load(kind)].some(({ key }) => !/^[0-9a-f]{32}$/.test(key));
    await tableOf(node, storage, 0).flush();
    return {
      dest_hash: destination.key,
      ratchet_len: ratchet.length,
      file_written: written,
      tmp_leftover: leftover,
      reload_match: reloaded !== undefined && hex(reloaded) === hex(ratchet),
      reloaded_len: reloaded?.length ?? null,
      accepted_size: keyLength,
      cleaned_removed: !isIn(storage, destination.key),
    };
  },

  async wire_known_destinations_roundtrip(params) {
    const node = nodeOf(params);
    const hash = bytesOf(params, 'destination_hash', 16);
    const key = hex(hash);
    const table = tableOf(node, await stored(node, key));
    const known = table.get(key);
    return {
      present_before_save: node.transport.recall(hash) !== undefined,
      recall_after_clear_found: tableOf(node, new MemoryStorage()).get(key) !== undefined,
      recall_after_load_found: known !== undefined,
      app_data_after_load: hexOrNull(known?.appData),
      entry_len_after_load: known
        ? [known.heard, known.packetHash, known.identity, known.appData, known.used].length
        : null,
      table_size_after_load: table.size,
    };
  },
};

/** What a node like this one would know after a start with this storage. */
function tableOf({ clock }: Node, storage: MemoryStorage, capacity?: number): KnownDestinations {
  const parts = { clock, storage, log: silentLog, counters: new Counters() };
  return new KnownDestinations({ ...parts, ...(capacity === undefined ? {} : { capacity }) });
}

const isIn = (storage: MemoryStorage, wanted: string): boolean =>
  [...storage.load(kind)].some(({ key }) => key === wanted);

/** A copy of what the node has stored of others, as soon as the entry is in it. */
async function stored({ storage }: Node, key: string): Promise<MemoryStorage> {
  if (!(await until(() => isIn(storage, key), 5000))) throw new Error(`${key} was not stored`);
  const copy = new MemoryStorage();
  for (const entry of storage.load(kind)) await copy.save(kind, entry.key, entry.value);
  return copy;
}

/** Stores under one destination what another one announced. */
async function remember(
  node: Node,
  storage: MemoryStorage,
  under: LocalDestination,
  announced: LocalDestination,
): Promise<void> {
  const raw = announceOf(node, announced);
  const { data } = decodePacket(raw);
  const value = encodeKnown({
    destinationHash: announced.hash,
    identity: announced.identity!.public,
    nameHash: announced.nameHash,
    appData: undefined,
    ratchet: undefined,
    ratchetHeard: 0,
    heard: node.clock.now(),
    packetHash: node.random.bytes(32),
    announce: data,
    announceHasRatchet: false,
    used: false,
  });
  await storage.save(kind, under.key, value);
}

/** Whether a node that starts with this storage takes an announce. */
async function isTaken(
  { clock, random, identity }: Node,
  storage: MemoryStorage,
  destination: LocalDestination,
  raw: Uint8Array,
): Promise<boolean> {
  const counters = new Counters();
  const transport = new Transport({ clock, random, identity, storage, counters, log: silentLog });
  const opened = Promise.withResolvers<InterfacePort>();
  const ended = new AbortController();
  const { service } = transport.attach({
    name: 'aside',
    mtu: packetMtu,
    bitrate: 10_000_000,
    async run(port, signal) {
      port.ready();
      opened.resolve(port);
      await new Promise(resolve => signal.addEventListener('abort', resolve, { once: true }));
    },
    async send() {},
  });
  const running = service.run(() => {}, ended.signal);
  (await opened.promise).receive(raw);
  const isDone = () => transport.path(destination.hash) ?? counters.get('crypto/bad-signature') > 0;
  if (!(await until(isDone, 3000))) throw new Error('the announce was neither taken nor refused');
  const taken = transport.path(destination.hash) !== undefined;
  ended.abort();
  await running;
  await transport.close();
  return taken;
}
