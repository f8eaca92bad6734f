import { fromHex } from '../../../src/lib/bytes.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { systemRandom } from '../../../src/lib/random.ts';
import { decodeAnnounce } from '../../../src/mesh/reticulum/announce.ts';
import { Announcer, sameAnswerFor } from '../../../src/mesh/reticulum/announcer.ts';
import {
  destinationHash,
  expandName,
  LocalDestination,
  type LocalDestinationOptions,
  nameHash,
  type ProofStrategy,
} from '../../../src/mesh/reticulum/destination.ts';
import { decodeIdentity, generateIdentity, type Identity } from '../../../src/mesh/reticulum/identity.ts';
import { contexts, decodePacket, hashLength } from '../../../src/mesh/reticulum/packet.ts';
import { RatchetRing } from '../../../src/mesh/reticulum/ratchet.ts';
import { type RequestHandler, RequestHandlers } from '../../../src/mesh/reticulum/request.ts';
import { generateTokenKey, sealToken, tokenIvLength } from '../../../src/mesh/reticulum/token.ts';
import { MemoryStorage } from '../../mesh/reticulum/memory-storage.ts';
import type { Commands, Params } from '../command.ts';
import {
  bytesIf,
  bytesOf,
  flagOf,
  hex,
  hexOrNull,
  integerIf,
  integerOf,
  numberIf,
  textIf,
  textOf,
  textsOf,
} from '../params.ts';

/** Code points of the reference's API, which are not on the wire. */
const directions = { in: 0x11, out: 0x12 } as const;
const proofStrategies = new Map<number, ProofStrategy>([
  [0x21, 'none'],
  [0x22, 'app'],
  [0x23, 'all'],
]);
const policies = new Map<number, RequestHandler['allow']>([
  [0x00, 'none'],
  [0x01, 'all'],
  [0x02, new Set<string>()],
]);
const types = ['single', 'group', 'plain', 'link'] as const;
type Type = (typeof types)[number];

interface Wanted {
  readonly type: Type;
  readonly direction: keyof typeof directions;
  readonly identity: Identity | undefined;
  /** The identity was not given but made. */
  readonly made: boolean;
  readonly appName: string;
  readonly aspects: readonly string[];
}

/** What is asked for, with the identity that a destination of ours is given where it has none. */
function wantedOf(params: Params, otherwise: Type = 'single'): Wanted {
  const type = wordOf(params.type ?? otherwise, types, index => types[index]);
  const direction = wordOf(params.direction ?? 'in', ['in', 'out'] as const, code =>
    code === directions.in ? 'in' : code === directions.out ? 'out' : undefined,
  );
  const key = bytesIf(params, 'identity_private_key');
  const given = key && decodeIdentity(key);
  if (type === 'plain' && given) throw new Error('a plain destination cannot hold an identity');
  if (direction === 'out' && type !== 'plain' && !given)
    throw new Error(`there is no ${type} destination of somebody else without an identity`);
  const made = given === undefined && type !== 'plain';
  const identity = made ? generateIdentity(systemRandom) : given;
  const aspects = textsOf(params, 'aspects');
  return {
    type,
    direction,
    identity,
    made,
    appName: textOf(params, 'app_name'),
    aspects: made && identity ? [...aspects, hex(identity.hash)] : aspects,
  };
}

function wordOf<T extends string>(
  value: unknown,
  words: readonly T[],
  byCode: (code: number) => T | undefined,
): T {
  const found = typeof value === 'number' ? byCode(value) : words.find(word => word === value);
  if (found === undefined) throw new Error(`there is no ${String(value)}: ${words.join(', ')}`);
  return found;
}

/** A destination served here, of a node that nobody hears. */
function localOf(params: Params, options: Partial<LocalDestinationOptions> = {}): LocalDestination {
  const { type, direction, identity, appName, aspects } = wantedOf(params);
  if (direction === 'out') throw new Error('only a destination of ours can do that');
  if (type !== 'single' && type !== 'plain') throw new Error(`a ${type} destination cannot do that`);
  return new LocalDestination({ ...(identity && { identity }), appName, aspects, ...options });
}

const ringOf = (destination: LocalDestination): RatchetRing | undefined =>
  destination.ratchets
    ? new RatchetRing(destination.hash, [], {
        clock: systemClock,
        random: systemRandom,
        storage: new MemoryStorage(),
      })
    : undefined;

/** The name with the identity that some print behind it. */
const nameWith = (name: string, identity: Identity | undefined): string =>
  identity === undefined ? name : `${name}.${hex(identity.hash)}`;

function split(fullName: string): { appName: string; aspects: readonly string[] } {
  const [appName = '', ...aspects] = fullName.split('.');
  return { appName, aspects };
}

const identityHashOf = (params: Params): Uint8Array => bytesOf(params, 'identity_hash', hashLength);

export const commands: Commands = {
  destination_hash: params => {
    const name = expandName(textOf(params, 'app_name'), textsOf(params, 'aspects'));
    return { destination_hash: hex(destinationHash(nameHash(name), identityHashOf(params))) };
  },
  app_and_aspects_from_name: params => {
    const { appName, aspects } = split(textOf(params, 'full_name'));
    return { app_name: appName, aspects };
  },
  hash_from_name_and_identity: params => {
    const { appName, aspects } = split(textOf(params, 'full_name'));
    const name = nameHash(expandName(appName, aspects));
    return { destination_hash: hex(destinationHash(name, identityHashOf(params))) };
  },
  destination_expand_name: params => {
    const key = bytesIf(params, 'identity_private_key');
    const identity = key && decodeIdentity(key);
    const name = expandName(textOf(params, 'app_name'), textsOf(params, 'aspects'));
    return { name: nameWith(name, identity), ...(identity && { identity_hexhash: hex(identity.hash) }) };
  },
  destination_construct: params => {
    const { type, direction, identity, made, appName, aspects } = wantedOf(params);
    const local =
      direction === 'in' && (type === 'single' || type === 'plain')
        ? new LocalDestination({ ...(identity && { identity }), appName, aspects })
        : undefined;
    const name = local?.name ?? expandName(appName, aspects);
    const strategy = local?.proofStrategy ?? 'none';
    return {
      destination_hash: hex(local?.hash ?? destinationHash(nameHash(name), identity?.hash)),
      name: nameWith(name, identity),
      name_hash: hex(local?.nameHash ?? nameHash(name)),
      proof_strategy: [...proofStrategies].find(([, word]) => word === strategy)?.[0],
      type: types.indexOf(type),
      direction: directions[direction],
      ...(made && identity && { auto_identity_hexhash: hex(identity.hash) }),
    };
  },
  destination_announce_attempt: async params => {
    const destination = localOf(params);
    await new Announcer({ clock: systemClock, random: systemRandom }).make(destination, undefined, {});
    return { ok: true, destination_hash: hex(destination.hash) };
  },
  destination_set_proof_strategy_raw: params => {
    const code = integerOf(params, 'strategy_value');
    const proofStrategy = proofStrategies.get(code);
    if (proofStrategy === undefined) throw new Error(`there is no proof strategy ${code}`);
    const set = localOf(params, { proofStrategy }).proofStrategy;
    return { set: true, proof_strategy: [...proofStrategies].find(([, word]) => word === set)?.[0] };
  },
  destination_rotate_ratchets: async params => {
    const ring = ringOf(localOf(params, { ratchets: flagOf(params, 'enable', false) }));
    if (ring === undefined) throw new Error('the destination has no ratchets to rotate');
    await ring.announced();
    return { rotated: ring.kept.length > 0, has_ratchets: true };
  },
  destination_group_encrypt: params => {
    if (!flagOf(params, 'create_keys', false)) throw new Error('the group has no key');
    const groupKey = generateTokenKey(systemRandom);
    const { identity, appName, aspects } = wantedOf({ ...params, type: 'group' });
    const group = new LocalDestination({ appName, aspects, groupKey, ...(identity && { identity }) });
    const plaintext = bytesOf(params, 'plaintext');
    const sealed = sealToken(groupKey, plaintext, systemRandom.bytes(tokenIvLength));
    return {
      ciphertext: hex(sealed),
      roundtrip: hex(group.open(sealed, undefined).plaintext),
      has_key: group.kind === 'group',
    };
  },
  destination_default_app_data: async params => {
    const kind = textIf(params, 'default_kind') ?? 'bytes';
    const value = bytesIf(params, 'default_value') ?? new Uint8Array(0);
    const destination = localOf(params, kind === 'none' ? {} : { appData: () => value });
    const announcer = new Announcer({ clock: systemClock, random: systemRandom });
    const appData = bytesIf(params, 'override_app_data');
    const raw = await announcer.make(destination, undefined, { appData });
    return {
      app_data: hexOrNull(decodeAnnounce(decodePacket(raw)).appData) ?? '',
      default_app_data_set: destination.appData() !== undefined,
    };
  },
  destination_register_request_handler_validate: params => {
    localOf(params);
    const code = integerIf(params, 'allow') ?? 0x01;
    const allow = policies.get(code);
    if (allow === undefined) throw new Error(`there is no request policy ${code}`);
    if (!flagOf(params, 'generator_valid', true)) throw new Error('a request handler answers');
    const handlers = new RequestHandlers();
    handlers.add({
      path: textIf(params, 'path') ?? '/test/echo',
      allow,
      respond: ({ data }) => ({ value: data }),
    });
    return { registered: true, handler_count: handlers.size };
  },
  destination_path_response_cache: async params => {
    let now = 1_000_000_000;
    const clock = { ...systemClock, now: () => now, monotonic: () => now };
    const announcer = new Announcer({ clock, random: systemRandom });
    const destination = localOf(params);
    const tag = hex(fromHex(textOf(params, 'tag')));
    const answer = async () => decodePacket(await announcer.answer(destination, undefined, tag));
    const first = await answer();
    now += (numberIf(params, 'advance_seconds') ?? 0) * 1000;
    const second = await answer();
    return {
      first_announce_data: hex(first.data),
      second_announce_data: hex(second.data),
      reused: hex(first.data) === hex(second.data),
      cache_size: announcer.size,
      pr_tag_window: sameAnswerFor / 1000,
      first_is_path_response: first.context === contexts.pathResponse,
    };
  },
};
