import { utf8 } from '../../../src/lib/bytes.ts';
import { LocalDestination, nameHash, type ProofStrategy } from '../../../src/mesh/reticulum/destination.ts';
import { decodeIdentity } from '../../../src/mesh/reticulum/identity.ts';
import { decodePacket, hashLength, packetHash, sha256 } from '../../../src/mesh/reticulum/packet.ts';
import { generateTokenKey } from '../../../src/mesh/reticulum/token.ts';
import { settled } from '../clock.ts';
import type { Command, Commands, Params } from '../command.ts';
import {
  bytesIf,
  bytesOf,
  flagIf,
  flagOf,
  hex,
  hexOrNull,
  integerIf,
  textIf,
  textOf,
  textsOf,
} from '../params.ts';
import { blackholeCommands } from './blackholes.ts';
import { holdAndRelease } from './held-announces.ts';
import { attachMock, closeInstances, instanceOf, mockOf, startInstance, stopInstance } from './instance.ts';
import { tableCommands } from './tables.ts';
import { tunnelCommands } from './tunnels.ts';

/*
 * A whole node, with interfaces whose far ends are the test's: what it hears is put in, what it sends is taken out.
 */

const strategies: Readonly<Record<string, ProofStrategy>> = { all: 'all', none: 'none', app: 'app' };

/** Codes under which a packet that nobody may take is counted, before anything looks into it. */
const refusals = ['wire/truncated', 'wire/malformed', 'wire/unsupported', 'mesh/duplicate'] as const;

/** Whether a packet gets past the node's filter, as it is heard on an interface of its own. */
const packetFilter: Command = async params => {
  const { transport, counters, mocks, isProgram } = instanceOf(params);
  const raw = bytesOf(params, 'raw');
  const hash = packetHash(raw);
  const name = 'filtered';
  const mock =
    [...mocks.values()].find(({ iface }) => iface.name === name) ??
    (await attachMock({ ...params, name, local_client: false, mode: 'FULL' }));
  // The test counts hops as after the way here, which the node adds itself where there is one.
  const heard = raw.slice();
  if (!isProgram) heard[1] = Math.max(0, (heard[1] ?? 0) - 1);
  // Whether an announce says something new is not the filter's to decide.
  const isAnnounce = decodePacket(raw).packetType === 'announce';
  const count = () =>
    refusals.reduce(
      (sum, code) => sum + (isAnnounce && code === 'mesh/duplicate' ? 0 : counters.get(code)),
      0,
    );
  const [before, foreign] = [count(), counters.get('mesh/not-for-us')];
  const knew = transport.tables.heard.has(hash);
  mock.iface.hear(heard);
  await settled();
  mock.iface.drain();
  const isRemembered = transport.tables.heard.has(hash);
  // In transport by another node: the only one that is for nobody here without being remembered.
  const isForeign =
    counters.get('mesh/not-for-us') > foreign &&
    !isRemembered &&
    !isProgram &&
    decodePacket(raw).transportId !== undefined;
  const accepted = count() === before && !isForeign;
  if (!flagOf(params, 'remember', true) && !knew) transport.forget(hash);
  return { accepted, packet_hash: hex(hash), remembered: accepted && flagOf(params, 'remember', true) };
};

const inboundRemembered: Command = async params => {
  const { heard } = instanceOf(params).transport.tables;
  const raw = bytesOf(params, 'raw');
  const hash = hashIf(raw);
  const before = heard.size;
  mockOf(params).iface.hear(raw);
  await settled();
  return {
    hashlist_before: before,
    hashlist_after: heard.size,
    hashlist_grew: heard.size > before,
    unpackable: hash !== undefined,
    packet_hash: hexOrNull(hash),
    in_hashlist: hash !== undefined && heard.has(hash),
  };
};

function hashIf(raw: Uint8Array): Uint8Array | undefined {
  try {
    decodePacket(raw);
    return packetHash(raw);
  } catch {
    return undefined;
  }
}

const registerDestination: Command = params => {
  const { transport, deliveries, destinations, random } = instanceOf(params);
  const type = textIf(params, 'type') ?? 'single';
  if (type !== 'single' && type !== 'plain' && type !== 'group') throw new Error(`there is no type ${type}`);
  const seed = bytesIf(params, 'identity_seed');
  const strategy = textIf(params, 'proof_strategy');
  const taken: Uint8Array[] = [];
  const destination = new LocalDestination({
    ...(type === 'group' && { groupKey: generateTokenKey(random) }),
    ...(type !== 'plain' && { identity: decodeIdentity(bytesOf({ seed: seed && hex(seed) }, 'seed', 64)) }),
    appName: textOf(params, 'app_name'),
    aspects: textsOf(params, 'aspects'),
    ...(strategy !== undefined && { proofStrategy: strategies[strategy] ?? 'none' }),
    onPacket: ({ data }) => taken.push(data),
  });
  transport.register(destination);
  destinations.push(destination);
  deliveries.set(destination.key, taken);
  return { destination_hash: hex(destination.hash) };
};

const registerAnnounceHandler: Command = params => {
  const { transport, recordings } = instanceOf(params);
  const calls: Record<string, unknown>[] = [];
  // Which announces it wants is something that a listener has to say.
  const registered = !flagOf(params, 'omit_aspect_filter', false);
  const name = textIf(params, 'aspect_filter');
  const withHash = integerIf(params, 'num_params') === 4;
  if (registered) {
    transport.onAnnounce(
      announced => {
        calls.push({
          destination_hash: hex(announced.destinationHash),
          announced_identity_hash: hex(announced.identity.hash),
          app_data: hexOrNull(announced.appData),
          ...(withHash && { announce_packet_hash: hex(announced.packetHash) }),
        });
        if (flagOf(params, 'raise_on_call', false)) throw new Error('a listener that fails');
      },
      {
        ...(name !== undefined && { nameHash: nameHash(name) }),
        pathResponses: flagIf(params, 'receive_path_responses') ?? false,
      },
    );
  }
  const id = `listener-${recordings.size + 1}`;
  recordings.set(id, { calls, registered });
  return { handler_id: id, registered };
};

const requestPath: Command = async params => {
  const { transport, random } = instanceOf(params);
  mockOf(params);
  const tag = bytesIf(params, 'tag') ?? random.bytes(hashLength);
  random.load(tag);
  transport.requestPath(bytesOf(params, 'dest', hashLength), { insist: true }).catch(() => {});
  await settled();
  return { tag: hex(tag) };
};

/** The packet as it leaves by an interface with an access code. */
const ifacMask: Command = async params => {
  const { iface, attachment } = mockOf(params);
  if (attachment.policy.accessCode === undefined) throw new Error('the interface has no access code');
  iface.drain();
  await instanceOf(params).transport.transmit(bytesOf(params, 'raw'), attachment);
  const [masked] = iface.drain();
  if (masked === undefined) throw new Error('nothing left');
  return { masked: hex(masked) };
};

const inject = async (params: Params): Promise<void> => {
  mockOf(params).iface.hear(bytesOf(params, 'raw'));
  await settled();
};

export const commands: Commands = {
  ...tableCommands,
  ...blackholeCommands,
  ...tunnelCommands,
  behavioral_hold_and_release_announce: holdAndRelease,
  behavioral_start: params => {
    const { handle, instance } = startInstance(params);
    return { handle, identity_hash: hex(instance.transport.identity.hash) };
  },
  behavioral_stop: async params => ({ stopped: await stopInstance(params) }),
  behavioral_attach_mock_interface: async params => {
    const { id, iface, attachment } = await attachMock(params);
    const { accessCode } = attachment.policy;
    return {
      iface_id: id,
      interface_hash: hex(sha256(utf8(iface.name))),
      ifac_size: accessCode?.size ?? 0,
    };
  },
  behavioral_detach_interface: async params => {
    const { attachment, stop } = mockOf(params);
    stop.abort();
    await settled();
    attachment.detach();
    return { detached: true };
  },
  behavioral_inject: async params => {
    await inject(params);
    return {};
  },
  behavioral_drain_tx: async params => {
    await settled();
    return { packets: mockOf(params).iface.drain().map(hex) };
  },
  behavioral_packet_filter: packetFilter,
  behavioral_inbound_remembered: inboundRemembered,
  behavioral_ifac_mask: ifacMask,
  behavioral_register_destination: registerDestination,
  behavioral_read_destination_deliveries: params => {
    const taken = instanceOf(params).deliveries.get(textOf(params, 'dest')) ?? [];
    return { count: taken.length, deliveries: taken.map(hex) };
  },
  behavioral_register_announce_handler: registerAnnounceHandler,
  behavioral_read_announce_handler_calls: params => {
    const recording = instanceOf(params).recordings.get(textOf(params, 'handler_id'));
    if (recording === undefined) throw new Error('there is no such listener');
    return { calls: recording.calls, registered: recording.registered };
  },
  behavioral_request_path: requestPath,
};

export const close = closeInstances;
