import { decode, encode, Float, type MsgpackValue } from '../../../src/lib/msgpack.ts';
import { systemRandom } from '../../../src/lib/random.ts';
import { discoveryCost } from '../../../src/mesh/reticulum/discovery-wire.ts';
import { decodeIdentity, generateIdentity, type Identity } from '../../../src/mesh/reticulum/identity.ts';
import type { Params } from '../command.ts';
import { bytesIf, flagOf, integerIf, integerOf, listOf, textIf, textOf, textsOf } from '../params.ts';
import { noticeOf, type Stamped, stampedFor, stampedNotice } from './discovery-parts.ts';

export const identityIf = (params: Params, name: string): Identity | undefined => {
  const key = bytesIf(params, name);
  return key && decodeIdentity(key);
};

export const fieldsOf = (params: Params): Params => (params.fields as Params | undefined) ?? {};

export const transportIdentity = generateIdentity(systemRandom);

export const sourcesOf = (params: Params, name: string): ReadonlySet<string> | undefined =>
  params[name] === undefined || params[name] === null ? undefined : new Set(textsOf(params, name));

const places = { latitude: 0x03, longitude: 0x04, height: 0x05 } as const;

/** An announce as a node makes it; one of a place that is none has it written over what was made without. */
export async function build(params: Params): Promise<Stamped | undefined> {
  const fields = fieldsOf(params);
  const wrong = Object.entries(places).filter(([name]) => typeof fields[name] === 'string');
  const right = Object.fromEntries(
    Object.entries(fields).filter(([name]) => !wrong.some(([one]) => one === name)),
  );
  const built = await buildRight({ ...params, fields: right });
  if (built === undefined || wrong.length === 0) return built;
  const facts = decode(built.facts, { maxDepth: 3 }) as Map<MsgpackValue, MsgpackValue>;
  for (const [name, key] of wrong) facts.set(key, String(fields[name]));
  return stampedFor(encode(facts), integerIf(params, 'stamp_value') ?? discoveryCost);
}

async function buildRight(params: Params): Promise<Stamped | undefined> {
  const id = identityIf(params, 'transport_identity_priv') ?? transportIdentity;
  const forwards = flagOf(params, 'transport_enabled', false);
  const notice = noticeOf(textOf(params, 'interface_type'), fieldsOf(params), id.hash, forwards);
  const network = identityIf(params, 'network_identity_priv');
  const isSealed = flagOf(params, 'encrypt', false);
  if (notice === undefined || (isSealed && network === undefined)) return undefined;
  return stampedNotice(
    notice,
    integerIf(params, 'stamp_value') ?? discoveryCost,
    isSealed ? network : undefined,
  );
}

/** A genuine announce with its facts changed, and stamped again: only the change is wrong with it. */
export async function craft(params: Params): Promise<Stamped | undefined> {
  const built = await build(params);
  if (built === undefined) return undefined;
  const facts = decode(built.facts, { maxDepth: 3 }) as Map<MsgpackValue, MsgpackValue>;
  const dropped = integerIf(params, 'drop_field');
  if (dropped !== undefined) facts.delete(dropped);
  const type = textIf(params, 'set_interface_type');
  if (type !== undefined) facts.set(0x00, type);
  for (const change of listOf(params, 'set_fields')) {
    const spec = change as Params;
    facts.set(integerOf(spec, 'key'), changed(spec));
  }
  return stampedFor(encode(facts), integerIf(params, 'stamp_value') ?? discoveryCost);
}

function changed(spec: Params): MsgpackValue {
  const { value } = spec;
  switch (textIf(spec, 'kind') ?? 'str') {
    case 'bytes':
      return Uint8Array.fromHex(String(value));
    case 'int':
      return Math.trunc(Number(value));
    case 'float':
      return new Float(Number(value));
    case 'bool':
      return Boolean(value);
    default:
      return value as MsgpackValue;
  }
}
