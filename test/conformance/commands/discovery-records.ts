import { systemRandom } from '../../../src/lib/random.ts';
import { discoveredAges } from '../../../src/mesh/reticulum/discovered.ts';
import {
  decodeNotice,
  discoverableTypes,
  discoveryKey,
  keptTypes,
  shownName,
} from '../../../src/mesh/reticulum/discovery-wire.ts';
import { generateIdentity } from '../../../src/mesh/reticulum/identity.ts';
import type { Command, Params, Result } from '../command.ts';
import { hex, integerIf, listOf, numberIf, textIf, textOf } from '../params.ts';
import { build, craft, identityIf, sourcesOf } from './discovery-making.ts';
import { Hearing, noticeOf, stampedNotice } from './discovery-parts.ts';

/** Code points of the reference's API. */
const statusCodes = { available: 1000, unknown: 100, stale: 0 } as const;

const serverFields = (name: string): Params => ({ name, reachable_on: 'example.com', port: 4242 });

/** A stamp of little value: what is looked at is what becomes of the record. */
const littleCost = 6;

export const injectRecords: Command = async params => {
  const hearing = new Hearing({ cost: 0 });
  const records = listOf(params, 'records').map(record => record as Params);
  const requested: Result[] = [];
  // The oldest was heard first.
  const inTurn = [...records].sort(
    (a, b) => (numberIf(b, 'age_seconds') ?? 0) - (numberIf(a, 'age_seconds') ?? 0),
  );
  let ago = numberIf(inTurn[0] ?? {}, 'age_seconds') ?? 0;
  for (const record of inTurn) {
    const age = numberIf(record, 'age_seconds') ?? 0;
    await hearing.clock.leapTo(hearing.clock.monotonic() + (ago - age) * 1000);
    ago = age;
    const name = textOf(record, 'name');
    const notice = noticeOf(
      'TCPServerInterface',
      serverFields(name),
      generateIdentity(systemRandom).hash,
      true,
    );
    if (notice === undefined) throw new Error('nothing to announce');
    const { appData } = await stampedNotice(notice, integerIf(record, 'stamp_value') ?? littleCost);
    const found = hearing.hear(appData, generateIdentity(systemRandom));
    if (found === undefined) throw new Error(`a genuine announce of ${name} was not taken`);
    const value = integerIf(record, 'value');
    if (value !== undefined) hearing.discovered.take({ ...found, value });
    requested.push({ name, discovery_hash: found.key });
  }
  await hearing.clock.leapTo(hearing.clock.monotonic() + ago * 1000);
  return {
    requested,
    listed: hearing.discovered.values().map(one => {
      const status = hearing.discovered.statusOf(one);
      return {
        name: shownName(one.notice),
        status,
        status_code: statusCodes[status],
        value: one.value,
        last_heard: one.heard / 1000,
        discovery_hash: one.key,
      };
    }),
    threshold_unknown: discoveredAges.unknown / 1000,
    threshold_stale: discoveredAges.stale / 1000,
    threshold_remove: discoveredAges.gone / 1000,
    status_available: statusCodes.available,
    status_unknown: statusCodes.unknown,
    status_stale: statusCodes.stale,
  };
};

export const storeRecord: Command = async params => {
  const cost = integerIf(params, 'stamp_value') ?? littleCost;
  const fields = (params.fields as Params | undefined) ?? serverFields(textIf(params, 'name') ?? 'Node');
  const base = { interface_type: 'TCPServerInterface', stamp_value: cost, transport_enabled: true, fields };
  const type = textIf(params, 'set_interface_type');
  const built = await (type === undefined ? build(base) : craft({ ...base, set_interface_type: type }));
  if (built === undefined) throw new Error('nothing to announce');
  const identity = identityIf(params, 'announce_identity_priv') ?? generateIdentity(systemRandom);
  const hearing = new Hearing({ cost, sources: sourcesOf(params, 'recv_sources') });
  for (let left = integerIf(params, 'repeat') ?? 1; left > 0; left--) hearing.hear(built.appData, identity);
  const notice = decodeNotice(built.facts);
  const key = hex(discoveryKey(notice));
  const sources = sourcesOf(params, 'list_sources');
  const all = hearing.discovered.values();
  const listed = all.filter(({ networkId }) => sources === undefined || sources.has(hex(networkId)));
  return {
    // Who listens reads a client's announce as well, and keeps none.
    received:
      hearing.counters.get('discovery/malformed') + hearing.counters.get('discovery/stamp-too-cheap') === 0,
    record_type: notice.type,
    stored: all.some(one => one.key === key),
    heard_count: all.find(one => one.key === key)?.heardCount ?? null,
    discovery_hash: key,
    listed_names: listed.map(one => shownName(one.notice)),
    announce_identity_hash: hex(identity.hash),
    discoverable_types: keptTypes,
    discoverable_interface_types: discoverableTypes,
  };
};
