import type { Fold } from '../folding.ts';
import type { Message, RemoteId } from '../message.ts';
import type { PackedDelivery } from './new-delivery.ts';

/** What is written of a message that is accepted. */
export interface AcceptArgs {
  readonly scheme: string;
  /** Absent where nobody can say it again: then it is new. */
  readonly remoteId?: RemoteId;
  /** SHA-256 of the draft, where the same id with another body must be told apart. */
  readonly fingerprint?: Uint8Array;
  readonly message: Pick<Message, 'id' | 'type' | 'from' | 'to' | 'acceptedAt' | 'correlation'>;
  /** JSON of the whole Message. */
  readonly body: string;
  readonly deliveries: readonly PackedDelivery[];
  readonly audience: readonly string[];
  readonly blobs: readonly string[];
  /** Of the only delivery: what must be the same at every attempt, and the id by which its far side will know it. */
  readonly prepared?: { readonly bytes: Uint8Array; readonly remoteId: RemoteId } | undefined;
  /** Changes of earlier deliveries that this message makes. */
  readonly folds?: readonly Fold[];
  /** By delivery: JSON of what it says instead of the message. */
  readonly rewrites?: ReadonlyMap<string, string>;
  /** By delivery: JSON of what the rule said that made it. */
  readonly rulings?: ReadonlyMap<string, string>;
  /** The device a reading is of: the message becomes its newest. */
  readonly device?: string;
}

type Rest = Pick<AcceptArgs, 'prepared' | 'folds' | 'rewrites' | 'rulings' | 'device'>;

/** An accept on its way to the writer, without the names of its members; what few of them have is an object still. */
export type PackedAccept = readonly [
  scheme: string,
  remoteId: RemoteId | null,
  fingerprint: Uint8Array | null,
  id: string,
  type: string,
  from: Message['from'],
  to: Message['to'],
  acceptedAt: number,
  correlation: string | null,
  body: string,
  deliveries: readonly PackedDelivery[],
  audience: readonly string[],
  blobs: readonly string[],
  rest: Rest | null,
];

export function packAccept(args: AcceptArgs): PackedAccept {
  const { scheme, remoteId = null, fingerprint = null, message, body, deliveries, audience, blobs } = args;
  const { id, type, from, to, acceptedAt, correlation = null } = message;
  return [
    scheme,
    remoteId,
    fingerprint,
    id,
    type,
    from,
    to,
    acceptedAt,
    correlation,
    body,
    deliveries,
    audience,
    blobs,
    restOf(args),
  ];
}

/** Whether it is no repeat, for certain, goes to one and changes nothing that was accepted before it. */
export function isPlainAccept({ 1: remoteId, 10: deliveries, 13: rest }: PackedAccept): boolean {
  return remoteId === null && deliveries.length === 1 && rest?.folds === undefined;
}

/** Whether nothing belongs to it beside its row, its events and its deliveries. */
export function isBare({ 1: remoteId, 12: blobs, 13: rest }: PackedAccept): boolean {
  return remoteId === null && blobs.length === 0 && rest === null;
}

export function unpackAccept(packed: PackedAccept): AcceptArgs {
  const [scheme, remoteId, fingerprint, id, type, from, to, acceptedAt, correlation, ...others] = packed;
  const [body, deliveries, audience, blobs, rest] = others;
  const message = { id, type, from, to, acceptedAt, ...(correlation !== null && { correlation }) };
  return {
    scheme,
    ...(remoteId !== null && { remoteId }),
    ...(fingerprint !== null && { fingerprint }),
    message,
    body,
    deliveries,
    audience,
    blobs,
    ...rest,
  };
}

function restOf({ prepared, folds, rewrites, rulings, device }: AcceptArgs): Rest | null {
  const isPlain =
    prepared === undefined &&
    folds === undefined &&
    rewrites === undefined &&
    rulings === undefined &&
    device === undefined;
  return isPlain
    ? null
    : {
        ...(prepared !== undefined && { prepared }),
        ...(folds !== undefined && { folds }),
        ...(rewrites !== undefined && { rewrites }),
        ...(rulings !== undefined && { rulings }),
        ...(device !== undefined && { device }),
      };
}
