import type { Cancel } from '../lib/clock.ts';
import type { Bridge, DeliveryId } from './bridge.ts';
import type { DeliveryInput } from './delivery.ts';
import { type Address, type MessageId, priorities } from './message.ts';

/** A delivery the outbox still has to do with. */
export interface Entry {
  readonly id: DeliveryId;
  readonly message: MessageId;
  /** 0 is the most urgent. */
  readonly priority: number;
  readonly expiresAt: number;
  attempts: number;
  /** Failures in a row that nobody foresaw. */
  bugs: number;
}

/** The attempt a destination is busy with. */
export interface Attempt {
  readonly entry: Entry;
  readonly controller: AbortController;
  readonly done: Promise<void>;
  /** The bridge said why it waits. */
  explained: boolean;
  /** What to make of it if it ends without success: it was called back, or has run out of time. */
  ending?: DeliveryInput;
  /** The far side said meanwhile what became of it: nothing is left to do. */
  settled: boolean;
  /** The far side became reachable meanwhile: a failure is worth another attempt at once. */
  again: boolean;
}

/** Everything that waits for one address, in order. */
export interface WaitingLine {
  readonly bridge: BridgeLines;
  readonly to: Address;
  readonly entries: Entry[];
  /** How many of each priority wait. */
  readonly counts: number[];
  attempt: Attempt | undefined;
  failures: number;
  /** Stops the timer that will let it go on; undefined when nothing holds it. */
  held: Cancel | undefined;
  reason: string | undefined;
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
    failures: 0,
    held: undefined,
    reason: undefined,
  }));
}

export function append(line: WaitingLine, entry: Entry): void {
  line.entries.push(entry);
  line.counts[entry.priority] = (line.counts[entry.priority] ?? 0) + 1;
}

export function removeEntry(line: WaitingLine, entry: Entry): void {
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
    line.held?.();
    line.bridge.lines.delete(line.to);
    return;
  }
  if (line.held === undefined) {
    line.bridge.ready[line.counts.findIndex(count => count > 0)]?.add(line);
  }
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
