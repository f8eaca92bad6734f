import { type Fields, field, without } from './fields.ts';
import type { Question } from './flights.ts';
import type { OriginAnswer } from './origin.ts';
import { combine, partFields, partOf } from './rfc9111/range.ts';
import { sameStrongTag } from './rfc9111/validation.ts';
import { varyKey, varyNames } from './rfc9111/vary.ts';
import type { Service } from './service.ts';
import type { CacheEntry } from './store/cache-entry.ts';
import type { EntryHead } from './store/cache-job.ts';

/** Variants of one URL. */
const mostVariants = 16;

/** Puts a whole answer into the store. */
export function keepAnswer(
  service: Service,
  question: Question,
  entries: readonly CacheEntry[],
  answer: OriginAnswer,
  bytes: Uint8Array,
): CacheEntry | undefined {
  const { cache } = service;
  const { exchange, standing: who } = question;
  let { status, headers } = answer;
  let body = bytes;
  let part = status === 206 ? partOf(headers) : undefined;
  const length = field(headers, 'content-length');
  if ((length !== undefined && Number(length) !== body.length) || (status === 206 && part === undefined)) {
    return undefined;
  }
  if (part !== undefined) {
    const before = entries.find(
      each => each.status === 206 && sameStrongTag(field(each.headers, 'etag'), field(headers, 'etag')),
    );
    const old = before?.body();
    const oldPart = before && partOf(before.headers);
    if (old instanceof Uint8Array && oldPart !== undefined) {
      const both = combine({ part, bytes: body }, { part: oldPart, bytes: old });
      if (both !== undefined) {
        ({ bytes: body, part } = both);
      }
    }
    const complete = part.first === 0 && part.last === part.total - 1;
    status = complete ? 200 : 206;
    headers = complete
      ? [...without(headers, 'content-range', 'content-length'), ['Content-Length', String(body.length)]]
      : partFields(headers, part, part.total);
  }
  const head = headOf(service.definition.id, question, status, headers, answer, part);
  if (entries.length >= mostVariants && !entries.some(({ vary }) => vary === head.vary)) {
    cache.remove(service.definition.id, who.partition, exchange.path);
  }
  cache.put(lasting(head, question), body);
  service.onStored(who.partition, exchange.path, answer.requestTime);
  return { ...head, size: body.length, body: () => body };
}

/** The head under which an answer of a question is stored. */
export function headOf(
  service: string,
  { exchange, standing: who, policy }: Question,
  status: number,
  headers: Fields,
  answer: OriginAnswer,
  part?: { readonly first: number; readonly total: number },
): EntryHead {
  return {
    service,
    partition: who.partition,
    path: exchange.path,
    vary: varyKey(varyNames(headers) ?? [], exchange.headers),
    status,
    headers,
    requestTime: answer.requestTime,
    responseTime: answer.responseTime,
    invalid: false,
    size: 0,
    ...(part !== undefined && { first: part.first, total: part.total }),
    pinned: policy.pin,
  };
}

/**
 * What is kept of a head. A cookie that is set once more, days later, would bring an old session back: it goes to the
 * one whose answer it came with. A cache that only does what HTTP says keeps it.
 */
export function lasting(head: EntryHead, { policy }: Question): EntryHead {
  return policy.mode === 'replica' ? { ...head, headers: without(head.headers, 'set-cookie') } : head;
}
