import { type Fields, without } from './fields.ts';
import { formatDate } from './rfc9111/date.ts';

/**
 * What a replica says of each answer.
 *
 *     Cache-Status: kos; hit; ttl=-412; detail=offline
 *     Age: 712
 *     Replica-State: stale
 *     Replica-As-Of: Sun, 06 Nov 1994 08:49:37 GMT
 *
 * Source: RFC 9211; RFC 9111 §5.1.
 */
export interface Label {
  readonly state: 'fresh' | 'stale';
  /** ms epoch when the origin said it. */
  readonly asOf: number;
  /** Seconds. */
  readonly age: number;
  readonly ttl: number;
  /** Parameters of Cache-Status after the name of this cache. */
  readonly status: string;
}

/** The fields of an answer from the store, with what is to be known about it. */
export function labelled(headers: Fields, label: Label): Fields {
  const age = Number.isFinite(label.age) ? Math.floor(label.age) : 2 ** 31;
  const ttl = Number.isFinite(label.ttl) ? Math.floor(label.ttl) : -(2 ** 31);
  return [
    ...without(headers, 'age'),
    ['Age', String(Math.max(0, age))],
    ['Cache-Status', label.status.replace('{ttl}', String(ttl))],
    ['Replica-State', label.state],
    ['Replica-As-Of', formatDate(label.asOf)],
  ];
}

/** The fields of an answer that came from the service just now. */
export function forwarded(headers: Fields, status: string): Fields {
  return [...headers, ['Cache-Status', status], ['Replica-State', 'fresh']];
}
