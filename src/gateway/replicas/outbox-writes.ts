import { utf8 } from '../../lib/bytes.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { Random } from '../../lib/random.ts';
import type { QueueableWrite, ReplicaHost, ReplicaResponse, WritePath } from './contract.ts';
import { field, withField, without } from './fields.ts';
import type { Outbox } from './outbox.ts';
import { accepted, isHubTag, labelled } from './outbox-answer.ts';
import { type Intent, readIntent } from './outbox-intent.ts';
import { isHeld, isOver, type Operation } from './outbox-operation.ts';
import { createPrepare, type Prepared } from './outbox-prepare.ts';
import type { Part, Seal } from './outbox-seal.ts';
import type { WriteService, WriteServices } from './outbox-service.ts';
import type { KnownItem, ProjectionReads } from './projection.ts';
import type { Replay } from './replay-run.ts';
import type { Outcome } from './replay-send.ts';

export interface WritesOptions {
  readonly host: ReplicaHost;
  readonly services: WriteServices;
  readonly outbox: Outbox;
  readonly projection: ProjectionReads;
  readonly replay: Replay;
  readonly seal: Seal;
  readonly clock: Clock;
  readonly random: Random;
  readonly counters: Counters;
}

/** Writes of one user that wait for their turn here. */
const waitingWrites = 256;

/** Takes writes: sends them at once where that is possible and in order, keeps them where it is not. */
export function createWritePath(options: WritesOptions): WritePath {
  const { host, services, outbox, replay, clock, counters } = options;
  const prepare = createPrepare(options);
  const turns = new Map<string, { last: Promise<unknown>; waiting: number }>();

  /** One user's writes are taken one after the other: each sees what the one before made. */
  async function inTurn<T>(scope: string, act: () => Promise<T>): Promise<T> {
    const turn = turns.getOrInsertComputed(scope, () => ({ last: Promise.resolve(), waiting: 0 }));
    if (turn.waiting >= waitingWrites) {
      throw new GatewayError('request/rate-limited', `${waitingWrites} writes of yours wait already`, {
        retryable: true,
        detail: { retryAfter: 1 },
      });
    }
    turn.waiting += 1;
    const done = turn.last.then(act, act);
    turn.last = done.catch(() => undefined);
    try {
      return await done;
    } finally {
      turn.waiting -= 1;
      if (turn.waiting === 0) {
        turns.delete(scope);
      }
    }
  }

  /** The first answer to the same key, whatever has become of it since. */
  async function repeated(intent: Intent): Promise<ReplicaResponse | undefined> {
    const first = intent.clientKey === undefined ? undefined : outbox.byKey(intent.clientKey);
    if (first === undefined) {
      return undefined;
    }
    if (first.facts.fingerprint !== intent.fingerprint) {
      throw new GatewayError(
        'request/idempotency-mismatch',
        'this Idempotency-Key was used with another body',
      );
    }
    await replay.settled(first);
    const now = outbox.get(first.seq);
    if (now === undefined) {
      // Refused by the origin meanwhile: it is a new attempt.
      return undefined;
    }
    if (now.status.state === 'discarded') {
      throw new GatewayError(
        'request/conflict',
        'what was sent under this Idempotency-Key has been discarded',
      );
    }
    counters.add('replica/outbox/repeated');
    const part =
      (now.status.state === 'done' ? outbox.part(now, 'outcome') : undefined) ?? outbox.part(now, 'answer');
    const kept: ReplicaResponse =
      part === undefined
        ? accepted(now, intent.service)
        : { status: part.status ?? 200, headers: part.headers, body: part.body };
    const answer =
      now.status.state === 'done' || part === undefined ? kept : labelled(kept, now, intent.service);
    return { ...answer, headers: withField(answer.headers, 'idempotency-replayed', 'true') };
  }

  async function handle(write: QueueableWrite): Promise<ReplicaResponse> {
    const service = services(write.service);
    if (service === undefined) {
      throw new GatewayError('request/not-found', `no replica ${write.service}`);
    }
    const scope = `${write.service} ${write.partition}`;
    const taken = await inTurn(scope, () => take(write, service));
    return 'answer' in taken ? taken.answer : await ofOrigin(taken, service);
  }

  type Taken =
    | { readonly answer: ReplicaResponse }
    | {
        readonly intent: Intent;
        readonly operation: Operation;
        readonly prepared: Prepared;
        readonly sent: ReturnType<Replay['sendNow']>;
      };

  async function take(write: QueueableWrite, service: WriteService): Promise<Taken> {
    let intent = readIntent(write, service, options);
    const known = await repeated(intent);
    if (known !== undefined) {
      return { answer: known };
    }
    const online = () => host.link(write.service).at === 'online';
    const patience = service.policies.of('GET', write.path).read.patience;
    if (online() && !isFree(intent)) {
      await waitForLane(intent.lane, patience);
      intent = readIntent(write, service, options);
    }
    const prepared = await prepare(intent);
    if (online() && isFree(intent) && mayGoNow(intent, prepared)) {
      const operation = await keep(intent, prepared, 'inflight');
      return { intent, operation, prepared, sent: replay.sendNow(operation) };
    }
    if (!prepared.keeps) {
      return { answer: prepared.answer };
    }
    const operation = await keep(intent, prepared, 'queued');
    return { answer: labelled(prepared.answer, operation, service) };
  }

  /** Whether nothing of its lane is to go first, and nothing it needs is held. */
  function isFree({ lane, after }: Intent): boolean {
    const waits = (operation: Operation | undefined) => operation !== undefined && !isOver(operation.status);
    return !after.some(seq => waits(outbox.get(seq))) && before(lane).length === 0;
  }

  /** Operations of a lane that are to go before anything new. */
  function before(lane: string): readonly Operation[] {
    return [...outbox.open()].filter(({ facts, status }) => facts.lane === lane && !isHeld(status));
  }

  /** While the service answers, a write that follows another closely waits for it instead of being kept. */
  async function waitForLane(lane: string, patience: number): Promise<void> {
    const until = clock.monotonic() + patience;
    for (;;) {
      const underway = before(lane);
      const left = until - clock.monotonic();
      if (left <= 0 || underway.length !== 1 || underway[0]?.status.state !== 'inflight') {
        return;
      }
      await within(replay.settled(underway[0]), left);
    }
  }

  async function within(done: Promise<unknown>, ms: number): Promise<boolean> {
    const waited = new AbortController();
    const first = await Promise.race([
      done.then(() => true),
      clock.sleep(ms, waited.signal).then(
        () => false,
        () => false,
      ),
    ]);
    waited.abort();
    return first;
  }

  /** The origin itself checks what it is sent, but for a condition on a version that only exists here. */
  function mayGoNow({ write }: Intent, { answer }: Prepared): boolean {
    const wanted = field(write.headers, 'if-match');
    return !(wanted !== undefined && isHubTag(wanted) && answer.status === 412);
  }

  async function ofOrigin(
    { operation, prepared, sent }: Exclude<Taken, { answer: unknown }>,
    service: WriteService,
  ): Promise<ReplicaResponse> {
    const { patience } = service.policies.of('GET', operation.facts.path).read;
    const inTime = await within(
      sent.outcome.then(
        () => undefined,
        () => undefined,
      ),
      patience,
    );
    if (!inTime && prepared.keeps && sent.leave()) {
      // It goes on without its client, as if it had been kept.
      counters.add('replica/outbox/slow');
      return labelled(prepared.answer, operation, service);
    }
    const outcome: Outcome = await sent.outcome;
    const { on } = outcome.input;
    if (on === 'done' || on === 'refused') {
      if (outcome.response !== undefined) {
        return outcome.response;
      }
    }
    const now = outbox.get(operation.seq);
    if (on !== 'lost' && !prepared.keeps) {
      // Nothing was done, and it cannot be kept: what the origin said holds, or that it is not there.
      if (now !== undefined) {
        await outbox.remove(now);
      }
      return outcome.response ?? prepared.answer;
    }
    if (now === undefined || now.status.state === 'ambiguous') {
      return accepted(now ?? operation, service);
    }
    return prepared.keeps ? labelled(prepared.answer, now, service) : accepted(now, service);
  }

  async function keep(intent: Intent, prepared: Prepared, state: 'queued' | 'inflight'): Promise<Operation> {
    const { write, service, effect, collection, item, lane, after, fingerprint, clientKey, givenKey } =
      intent;
    const { answer, base, keeps, tag } = prepared;
    const now = clock.now();
    const request: Part = {
      headers: without(write.headers, 'content-length'),
      body: write.body ?? new Uint8Array(),
    };
    return await outbox.add({
      service: write.service,
      partition: write.partition,
      clientKey,
      state,
      budget: service.definition.storage.outbox,
      facts: {
        method: write.method,
        path: write.path,
        effect,
        ...(collection !== undefined && { collection }),
        ...(item !== undefined && { item }),
        ...(tag !== undefined && { tag }),
        ...(givenKey !== undefined && { key: givenKey }),
        lane,
        after,
        fingerprint,
        createdAt: now,
        expiresAt: now + write.policy.expires,
      },
      parts: {
        request,
        ...(base !== undefined && { base: basePart(base, write) }),
        ...(keeps && { answer }),
      },
    });
  }

  /** The version a change is made on: the one the client names, where the origin knows it. */
  function basePart({ json, etag, asOf }: KnownItem, write: QueueableWrite): Part {
    const wanted = field(write.headers, 'if-match');
    const named = wanted !== undefined && /^"[^"]*"$/.test(wanted) && !isHubTag(wanted) ? wanted : etag;
    return {
      headers: [
        ['content-type', 'application/json'],
        ...(named === undefined ? [] : [['etag', named] as const]),
      ],
      body: utf8(JSON.stringify(json)),
      asOf,
    };
  }

  return { handle };
}
