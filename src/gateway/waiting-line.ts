import type { Cancel } from '../lib/clock.ts';
import type { Bridge, DeliveryId } from './bridge.ts';
import type { DeliveryInput } from './delivery.ts';
import { type Address, type MessageId, priorities } from './message.ts';

/** A delivery the outbox still has to do with. */
export interface Entry {
  readonly id: DeliveryId;
  /** Its row: rows are in the order of their acceptance. */
  readonly seq: number;
  readonly line: WaitingLine;
  readonly message: MessageId;
  /** 0 is the most urgent. */
  readonly priority: number;
  expiresAt: number;
  attempts: number;
  /** Whether an attempt may have left bytes that the next one must repeat. */
  mayRemember: boolean;
  /** Whether the far side may have something of it. */
  mayHaveLeft: boolean;
  /** It says something else than its message: an edit was folded into it. */
  isRewritten: boolean;
  /** Failures in a row that nobody foresaw. */
  bugs: number;
  /** The attempt under way, if there is one. */
  attempt: Attempt | undefined;
}

/** One attempt to deliver an entry. */
export interface Attempt {
  readonly entry: Entry;
  readonly controller: AbortController;
  readonly done: Promise<void>;
  /** The bridge has it: before that nothing of it can have left. */
  given: boolean;
  /** The bridge said why it waits. */
  explained: boolean;
  /** What to make of it if it ends without success: it was called back, or has run out of time. */
  ending?: DeliveryInput;
  /** The far side said meanwhile what became of it: nothing is left to do. */
  settled: boolean;
  /** The far side became reachable meanwhile: a failure is worth another attempt at once. */
  again: boolean;
  /** When it had left and only the far side's word was missing, by the monotonic clock. */
  leftAt: number | undefined;
}

/** Everything that waits for one address, in order. */
export interface WaitingLine {
  readonly bridge: BridgeLines;
  readonly to: Address;
  readonly entries: Entry[];
  /** How many of each priority wait. */
  readonly counts: number[];
  /** The attempt that others wait behind. */
  attempt: Attempt | undefined;
  /** Attempts that have left and that nobody waits behind any more. */
  readonly flying: Set<Attempt>;
  /** The far side's last word came so soon that the next entry may leave before it. */
  quick: boolean;
  failures: number;
  /** Commits under way that say what becomes of entries of this line: nothing is begun meanwhile. */
  undecided: number;
  /** Stops the timer that will let it go on; undefined when nothing holds it. */
  held: Cancel | undefined;
  reason: string | undefined;
  /** How urgent what there was no airtime for is; undefined where something else holds the line. */
  rationed: number | undefined;
}

/** One bridge and the lines in front of it. */
export interface BridgeLines {
  readonly bridge: Bridge;
  readonly lines: Map<Address, WaitingLine>;
  /** Lines that could be served now, by their most urgent entry. */
  readonly ready: readonly Set<WaitingLine>[];
  active: number;
  /** Why nothing can be delivered; undefined when it is up. */
  down: string | undefined;
}

export function createBridgeLines(bridge: Bridge): BridgeLines {
  return {
    bridge,
    lines: new Map(),
    ready: priorities.map(() => new Set<WaitingLine>()),
    active: 0,
    down: 'not started yet',
  };
}

export function lineOf(bridge: BridgeLines, to: Address): WaitingLine {
  return bridge.lines.getOrInsertComputed(to, () => ({
    bridge,
    to,
    entries: [],
    counts: priorities.map(() => 0),
    attempt: undefined,
    flying: new Set(),
    quick: false,
    failures: 0,
    undecided: 0,
    held: undefined,
    reason: undefined,
    rationed: undefined,
  }));
}

/** Puts an entry into its line, where its row has its place: at the end, unless it comes back. */
export function insert(entry: Entry): void {
  const { line } = entry;
  let at = line.entries.length;
  while (at > 0 && (line.entries[at - 1]?.seq ?? 0) > entry.seq) {
    at -= 1;
  }
  line.entries.splice(at, 0, entry);
  line.counts[entry.priority] = (line.counts[entry.priority] ?? 0) + 1;
}

/** How urgent an entry and what waits behind it are at most: 0 is the most urgent. */
export function urgencyOf({ line, priority }: Entry): number {
  const waiting = line.counts.findIndex(count => count > 0);
  return waiting < 0 ? priority : Math.min(waiting, priority);
}

/** Takes an entry out of its line, if it is there. */
export function removeEntry(entry: Entry): void {
  const { line } = entry;
  const index = line.entries[0] === entry ? 0 : line.entries.indexOf(entry);
  if (index < 0) {
    return;
  }
  if (index === 0) {
    line.entries.shift();
  } else {
    line.entries.splice(index, 1);
  }
  line.counts[entry.priority] = (line.counts[entry.priority] ?? 1) - 1;
}

/** Puts the line where it belongs: among the ready, or nowhere, or away where nothing waits in it. */
export function place(line: WaitingLine): void {
  for (const set of line.bridge.ready) {
    set.delete(line);
  }
  if (line.attempt !== undefined) {
    return;
  }
  if (line.entries.length === 0) {
    // What has left, and what a commit under way is about, come back to this line and to no other.
    if (line.flying.size > 0 || line.undecided > 0) {
      return;
    }
    line.held?.();
    if (line.bridge.lines.get(line.to) === line) {
      line.bridge.lines.delete(line.to);
    }
    return;
  }
  if (line.held === undefined && line.undecided === 0 && line.flying.size < windowOf(line)) {
    line.bridge.ready[line.counts.findIndex(count => count > 0)]?.add(line);
  }
}

/** Why an entry waits, where its row does not say: `isUnwritten` where that says nothing of its last attempt, or there was none. */
export function reasonOf(entry: Entry, isUnwritten: boolean): string | undefined {
  const { line, attempt } = entry;
  const { active, bridge } = line.bridge;
  if (attempt !== undefined) {
    return undefined;
  }
  if (isUnwritten && line.reason !== undefined) {
    return line.reason;
  }
  const isBehind = line.entries[0] !== entry || line.attempt !== undefined;
  if (isBehind || line.flying.size >= windowOf(line)) {
    return 'others for the same address go first';
  }
  if (line.undecided > 0) {
    return 'a change of what waits for the same address is being written';
  }
  return active < bridge.carries.concurrency ? undefined : `${bridge.name} is busy with others`;
}

/** Whether nothing of this attempt can be at the far side. */
export function hasLeftNothing({ entry, given, leftAt }: Attempt): boolean {
  const { tellsWhenSent } = entry.line.bridge.bridge.carries;
  return !given || (tellsWhenSent === true && leftAt === undefined);
}

/** Deliveries to the line's address that may be under way at once. */
export function windowOf(line: WaitingLine): number {
  return line.quick ? (line.bridge.bridge.carries.window ?? 1) : 1;
}

/** The line to serve next: the most urgent, and among those the one that has waited longest. */
export function nextReady(bridge: BridgeLines): WaitingLine | undefined {
  for (const set of bridge.ready) {
    for (const line of set) {
      return line;
    }
  }
  return undefined;
}
