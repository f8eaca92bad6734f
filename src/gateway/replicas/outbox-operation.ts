import type { ErrorCode } from '../../lib/errors.ts';

/** What an operation does to what can be seen: `none` where nobody here can say. */
export type Effect = 'create' | 'replace' | 'merge' | 'delete' | 'none';

/** States a row has; `blocked` is not among them: it follows from the rows before it. */
export type OperationState =
  | 'queued'
  | 'inflight'
  | 'done'
  | 'ambiguous'
  | 'conflict'
  | 'rejected'
  | 'expired'
  | 'needs-auth'
  | 'discarded';

/** What never changes of an operation, and is no secret. */
export interface OperationFacts {
  readonly method: string;
  /** As the client sent it, with the query; it may name provisional ids. */
  readonly path: string;
  readonly effect: Effect;
  /** Path of the list it belongs to, where it is of a resource. */
  readonly collection?: string;
  /** Id of the item, as the client knows it; the provisional one where this creates it. */
  readonly item?: string;
  /** What keeps its order among each other: one at a time, oldest first. */
  readonly lane: string;
  /** Operations that must have ended well before: the one before on the same item, those that make ids it names. */
  readonly after: readonly number[];
  /** What the origin knows a repeat by. */
  readonly key: string;
  /** The ETag the client was given for what it made of the item. */
  readonly tag?: string;
  /** Digest of method, path and body: another body under a client's key is refused. */
  readonly fingerprint: string;
  /** ms epoch. */
  readonly createdAt: number;
  readonly expiresAt: number;
}

export interface OperationStep {
  readonly state: OperationState;
  readonly at: number;
  readonly reason?: string;
}

/** What changes of an operation. */
export interface OperationStatus {
  readonly state: OperationState;
  readonly attempts: number;
  /** Attempts in a row that failed: the wait grows with them. */
  readonly failures: number;
  /** ms epoch of the next attempt; it waits for the link alone where `waits` is `link`. */
  readonly nextAt?: number;
  readonly waits?: 'link' | 'time';
  readonly reason?: string;
  readonly code?: ErrorCode;
  /** ms epoch of the first attempt that may have reached the origin under the present key. */
  readonly sentAt?: number;
  /** Whether an attempt may have been done without anybody hearing of it. */
  readonly lost?: boolean;
  readonly doneAt?: number;
  /** Id the origin gave. */
  readonly given?: string;
  /** ETag of the item after it. */
  readonly etag?: string;
  /** Counts the requests it has been: each has a key of its own. */
  readonly round?: number;
  /** A person chose to go over what is there: the version is asked for before it is sent. */
  readonly over?: boolean;
  readonly history: readonly OperationStep[];
}

export interface Operation {
  readonly seq: number;
  readonly id: string;
  readonly service: string;
  readonly partition: string;
  readonly clientKey: string | undefined;
  readonly facts: OperationFacts;
  readonly status: OperationStatus;
  /** Of its sealed parts. */
  readonly bytes: number;
}

/** What the origin gets as the key of the present request. */
export function keyOf({ facts, status }: Operation): string {
  return status.round === undefined ? facts.key : `${facts.key}-${status.round}`;
}

/** The id its item has now, where that is known: `given` are those the origin gave in place of provisional ones. */
export function itemOf({ facts, status }: Operation, given: ReadonlyMap<string, string>): string | undefined {
  return status.given ?? (facts.item === undefined ? undefined : (given.get(facts.item) ?? facts.item));
}

/** Whether nothing of it is to come. */
export function isOver({ state }: OperationStatus): boolean {
  return state === 'done' || state === 'discarded';
}

/** Whether a person, or time, has to decide before it goes on. */
export function isHeld({ state }: OperationStatus): boolean {
  return state === 'ambiguous' || state === 'conflict' || state === 'rejected' || state === 'expired';
}

/** States in a history: the first and the newest are kept, what lies between is left out. */
export const historyLength = 20;

/** A status with another state, written into its history. */
export function moved(
  status: OperationStatus,
  state: OperationState,
  at: number,
  change: Partial<OperationStatus> = {},
): OperationStatus {
  const { nextAt: _, waits: __, reason: ___, code: ____, ...rest } = status;
  const step: OperationStep = { state, at, ...(change.reason !== undefined && { reason: change.reason }) };
  const history = [...status.history, step];
  return {
    ...rest,
    ...change,
    state,
    history:
      history.length <= historyLength
        ? history
        : [history[0] as OperationStep, ...history.slice(history.length - historyLength + 1)],
  };
}

/** A status whose times since a moment, noted by a clock that was wrong, move with it. */
export function shifted(status: OperationStatus, since: number, by: number): OperationStatus {
  const move = (at: number | undefined) => (at !== undefined && at >= since ? at + by : at);
  const [nextAt, sentAt, doneAt] = [move(status.nextAt), move(status.sentAt), move(status.doneAt)];
  return {
    ...status,
    ...(nextAt !== undefined && { nextAt }),
    ...(sentAt !== undefined && { sentAt }),
    ...(doneAt !== undefined && { doneAt }),
    history: status.history.map(each => ({ ...each, at: move(each.at) as number })),
  };
}
