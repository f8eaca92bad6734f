import { excess } from './bounds.ts';
import type { Bridge, DeliveryId } from './bridge.ts';
import type { DeliveryInput } from './delivery.ts';
import type { Address, Message, MessageId } from './message.ts';
import { isChange } from './router.ts';
import type { Words } from './ruling.ts';
import type { NewDeliveryRow } from './store/new-delivery.ts';
import type { Store } from './store/store.ts';
import type { Entry, WaitingLine } from './waiting-line.ts';

/** What a message is to say instead, in one delivery of it that has not left yet. */
export interface Rewrite {
  /** JSON of the members it replaces. */
  readonly body: string;
  readonly blobs: readonly string[];
}

/** A change of an earlier delivery, made in the commit that accepts the message which asks for it. */
export interface Fold {
  readonly delivery: DeliveryId;
  readonly input: DeliveryInput;
  readonly rewrite?: Rewrite;
}

/** What an edit or a redaction does to what still waits; nothing of it leaves until `settle`. */
export interface Folding {
  readonly folds: readonly Fold[];
  /** The deliveries of the message itself: those that are not needed any more are over at once. */
  readonly rows: readonly NewDeliveryRow[];
  /** Once, when it is known whether it was committed. */
  settle(committed: boolean): void;
}

export interface FoldingOptions {
  /** Messages of which a change is being committed: how many, by message. */
  readonly changing: Map<MessageId, number>;
  readonly store: Store;
  readonly lineOf: (bridge: string, address: Address) => WaitingLine | undefined;
  /** An entry that was called back is over. */
  readonly onCancelled: (entry: Entry) => void;
  /** Begins nothing of the line until the function it returns is called, once. */
  readonly suspend: (line: WaitingLine) => () => void;
}

/** Entries of a line that are looked through for an earlier edit. */
const lookBack = 64;

const rewritten = 'its words were changed before it left';
const takenBack = 'it was taken back before it left';
const overtaken = 'a later change took its place before it left';
const intoMessage = 'it went into the message it changes, which had not left yet';
const nothingLeft = 'the message it takes back had not left yet';

/**
 * Folds an edit into a message that still waits for the same address, and lets a redaction call it back; an edit that
 * waits itself gives way to what follows it. Only what has certainly not left is touched: a far side that may
 * have the first words is told of the change in a delivery of its own. `words` are what rules say instead in a delivery.
 */
export function fold(
  message: Message,
  rows: readonly NewDeliveryRow[],
  words: ReadonlyMap<DeliveryId, Words>,
  options: FoldingOptions,
): Folding {
  if (!isChange(message)) {
    return { folds: [], rows, settle: () => {} };
  }
  const target = message.inReplyTo;
  const isEdit = message.type === 'chat.edit';
  const { store, changing } = options;
  const others = changing.get(target) ?? 0;
  const done = beginChange(target, changing);
  if (others > 0) {
    // A change that is not in its line yet would follow the message that has the words of this one already.
    return { folds: [], rows, settle: done };
  }
  const folds: Fold[] = [];
  const held: { readonly entry: Entry; readonly over: boolean; readonly goOn: () => void }[] = [];
  const own = rows.map(row => {
    const line = row.state === 'queued' ? options.lineOf(row.bridge, row.recipient) : undefined;
    if (line === undefined) {
      return row;
    }
    const touch = (entry: Entry, change: Omit<Fold, 'delivery'>) => {
      held.push({ entry, over: change.rewrite === undefined, goOn: options.suspend(line) });
      folds.push({ delivery: entry.id, ...change });
    };
    for (const entry of earlierEdits(line.entries, message, target, store)) {
      touch(entry, { input: { on: 'cancel', reason: overtaken } });
    }
    const entry = line.entries.find(one => one.message === target && hasNotLeft(one));
    if (entry === undefined || store.read.message(target)?.from !== message.from) {
      return row;
    }
    if (!isEdit) {
      touch(entry, { input: { on: 'cancel', reason: takenBack } });
      return over(row, message, nothingLeft);
    }
    const rewrite = rewriteBy(message, words.get(row.id), line.bridge.bridge);
    if (rewrite === undefined) {
      return row;
    }
    touch(entry, { input: { on: 'explain', reason: rewritten }, rewrite });
    return over(row, message, intoMessage);
  });
  return {
    folds,
    rows: own,
    settle(committed) {
      done();
      for (const { entry, over, goOn } of held.splice(0)) {
        if (committed && over) {
          options.onCancelled(entry);
        } else if (committed) {
          entry.isRewritten = true;
        }
        goOn();
      }
    },
  };
}

/** A change is being committed, until the function it returns is called; calling that twice does nothing. */
function beginChange(target: MessageId, changing: Map<MessageId, number>): () => void {
  changing.set(target, (changing.get(target) ?? 0) + 1);
  let isOpen = true;
  return () => {
    const left = (changing.get(target) ?? 1) - 1;
    if (isOpen && left > 0) {
      changing.set(target, left);
    } else if (isOpen) {
      changing.delete(target);
    }
    isOpen = false;
  };
}

/** What an edit makes of the message it changes, where a rule says `words` of it; undefined where the bridge does not carry that. */
export function rewriteBy(edit: Message, words: Words | undefined, bridge: Bridge): Rewrite | undefined {
  const { title, data, attachments } = edit;
  const said = { text: edit.text, ...(title === undefined ? {} : { title }), ...words };
  if (excess({ text: said.text, attachments }, bridge) !== undefined) {
    return undefined;
  }
  const files = attachments.length > 0 ? { attachments } : {};
  return {
    body: JSON.stringify({ ...said, ...(data === undefined ? {} : { data }), ...files }),
    blobs: attachments.map(({ sha256 }) => sha256),
  };
}

/** What is said of a message in place of its own: a change stays one, whatever a rule has made of what it changes. */
export function wordsIn(message: Message, said: Words): Words {
  const { type: _, ...ofChange } = said;
  return isChange(message) ? ofChange : said;
}

/** The message as a delivery of it says it. */
export function withWords(message: Message, rewrite: string | undefined): Message {
  if (rewrite === undefined) {
    return message;
  }
  const { without = [], ...words } = JSON.parse(rewrite) as Partial<Message> & { without?: ['data'] };
  const { data, ...rest } = { ...message, ...words };
  return without.length > 0 || data === undefined ? rest : { ...rest, data };
}

/** Edits of the same message by the same sender that wait for the same address. */
function earlierEdits(
  entries: readonly Entry[],
  message: Message,
  target: MessageId,
  store: Store,
): readonly Entry[] {
  return entries.slice(-lookBack).filter(entry => {
    if (!hasNotLeft(entry) || entry.message === target) {
      return false;
    }
    const earlier = store.read.message(entry.message);
    return earlier?.type === 'chat.edit' && earlier.inReplyTo === target && earlier.from === message.from;
  });
}

/** Whether nothing of it can be at the far side. */
function hasNotLeft(entry: Entry): boolean {
  return entry.attempt === undefined && !entry.mayHaveLeft;
}

/** A delivery that is over before it begins. */
export function over(row: NewDeliveryRow, message: Message, reason: string): NewDeliveryRow {
  const history = JSON.stringify([
    { state: 'queued', at: message.acceptedAt },
    { state: 'cancelled', at: message.acceptedAt, reason },
  ]);
  return { ...row, state: 'cancelled', reason, history };
}
