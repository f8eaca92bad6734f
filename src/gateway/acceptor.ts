import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import { codeOf, GatewayError } from '../lib/errors.ts';
import type { Random } from '../lib/random.ts';
import { checkBounds, excess, refusal } from './bounds.ts';
import type { Accepted, Bridge, Incoming } from './bridge.ts';
import { newDelivery } from './delivery.ts';
import type { DeliveryView, HubFacts } from './desk.ts';
import { type Folding, over, withWords, wordsIn } from './folding.ts';
import { orderedId } from './ids.ts';
import type { Limits } from './limits.ts';
import {
  type Address,
  type Attachment,
  type Message,
  type MessageId,
  messageId,
  mostHubs,
  priorities,
  schemeOf,
} from './message.ts';
import { isForNobody, reasonOfMissed } from './missed.ts';
import { audienceOf, headOf, idOf, isReading, messageOf, newViewOf } from './new-message.ts';
import type { Outbox } from './outbox.ts';
import type { RecentMessages } from './recent-messages.ts';
import { type Recipient, type Routing, type RoutingFacts, route } from './router.ts';
import type { Routes } from './routes.ts';
import type { Words } from './ruling.ts';
import type { AcceptResult } from './store/message-table.ts';
import { type NewDeliveryRow, packDelivery } from './store/new-delivery.ts';
import { type AcceptArgs, packAccept } from './store/packed-accept.ts';
import type { Store } from './store/store.ts';

export interface AcceptorOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly counters: Counters;
  readonly limits: Limits;
  readonly hub: HubFacts;
  readonly bridges: ReadonlyMap<string, Bridge>;
  readonly outbox: Outbox;
  readonly recent: RecentMessages;
  readonly routing: () => RoutingFacts;
  /** Holds the rates of routes. */
  readonly admit: Routes['admit'];
  /** What a rule words anew, and what is kept of it. */
  readonly wordsFor: Routes['wordsFor'];
  readonly rulingOf: Routes['rulingOf'];
  /** Far sides that a message came from, for certain, or goes to. */
  readonly onTraffic: (addresses: readonly Address[], standing: 'friend' | 'writer') => void;
  /** Apps that have something in their inbox now. */
  readonly onInbox: (addresses: readonly string[]) => void;
}

/** The way into the switch: what comes from a bridge or an app is bounded, routed and committed in one step. */
export interface Acceptor {
  /**
   * Resolves when the message, its deliveries and its events are on disk; a known (scheme, remoteId) gives its
   * first id. What has been at this hub before, by its `via`, counts as known and is not kept again. Throws
   * `request/invalid`, `request/not-found`, `request/too-large`, `store/full`, `store/unavailable`, and
   * `request/idempotency-mismatch` where the fingerprint is another than the first.
   */
  accept(scheme: string, incoming: Incoming, looked?: Looked): Promise<AcceptedMessage>;
  /**
   * All of them or none, in one commit. Throws as `accept` does; whoever calls it has looked whether they are known. Where
   * some are and others are not, or not under this fingerprint, it is `request/idempotency-mismatch` for all.
   */
  acceptAll(scheme: string, all: readonly Incoming[], looked: Looked): Promise<readonly AcceptedMessage[]>;
}

/** Whoever gives it has looked whether the remote id is known: with the fingerprint of a draft that may come again, if it may. */
export interface Looked {
  readonly fingerprint?: Uint8Array | undefined;
  /** Nobody can say it again: its remote id was made for it now by `orderedId`, and is its id. */
  readonly once?: boolean;
  /** It is kept and told to nobody. */
  readonly quiet?: boolean;
}

/** What was accepted, and, where it is new, as it is shown, the message as JSON too: nobody has to read it back. */
export interface AcceptedMessage extends Accepted {
  readonly fresh?: {
    readonly message: Message;
    readonly json: string;
    readonly deliveries: readonly DeliveryView[];
  };
}

export function createAcceptor(options: AcceptorOptions): Acceptor {
  const { store, clock, random, counters, limits, hub, bridges, outbox } = options;

  function deliveryRow(message: Message, recipient: Recipient, direct: boolean): NewDeliveryRow {
    const tooLarge = excess(message, bridges.get(recipient.bridge));
    if (tooLarge !== undefined && direct) {
      throw refusal('request/too-large', tooLarge.pointer, tooLarge.reason);
    }
    const status = newDelivery(
      message.acceptedAt,
      tooLarge === undefined ? undefined : { code: 'mesh/too-large', reason: tooLarge.reason },
    );
    return {
      id: orderedId(clock, random),
      message: message.id,
      bridge: recipient.bridge,
      recipient: recipient.address,
      priority: priorities.indexOf(recipient.priority ?? message.priority),
      expires_at: message.expiresAt,
      state: status.state,
      reason: status.reason ?? null,
      code: status.code ?? null,
      attempts: 0,
      underway: 0,
      next_at: null,
      history: JSON.stringify(status.history),
    };
  }

  /** What the bridge of the only delivery can make already, if anything. */
  function prepare(message: Message, rows: readonly NewDeliveryRow[]): AcceptArgs['prepared'] {
    const [row] = rows;
    const bridge = row && bridges.get(row.bridge);
    if (row === undefined || rows.length > 1 || row.state !== 'queued' || bridge?.prepare === undefined) {
      return undefined;
    }
    try {
      return bridge.prepare({ id: row.id, to: row.recipient, message });
    } catch (error) {
      // Its delivery meets the same, and says so where it can be seen.
      counters.add(`prepare/${codeOf(error)}`);
      return undefined;
    }
  }

  /** Whether it is known, and otherwise nothing that a message may not be. */
  function look(scheme: string, incoming: Incoming, looked: Looked | undefined): Accepted | undefined {
    const known = looked === undefined ? store.read.knownAs(scheme, incoming.remoteId) : undefined;
    if (known !== undefined) {
      counters.add('accept/repeated');
      return { id: known.message, repeated: true };
    }
    // It has been here under another id, and went wherever it could.
    if (incoming.via?.includes(hub.id)) {
      counters.add('accept/came-round');
      return { id: messageId(scheme, incoming.remoteId), repeated: true };
    }
    checkBounds(incoming, limits);
    return undefined;
  }

  async function lookForBlobs(attachments: readonly Attachment[]): Promise<void> {
    for (const [index, attachment] of attachments.entries()) {
      if ((await store.blobs.size(attachment.sha256)) === undefined) {
        throw refusal('request/not-found', `/attachments/${index}/sha256`, 'no such blob');
      }
    }
  }

  function isKept(id: MessageId): boolean {
    try {
      return store.read.headOf(id) !== undefined;
    } catch {
      return false;
    }
  }

  /** What is written of it, and the room in the outbox that is kept for it until `end` is called. */
  function compose(scheme: string, incoming: Incoming, looked: Looked | undefined): Composed {
    const fingerprint = looked?.fingerprint;
    const now = clock.now();
    const routed = onward(route(incoming, options.routing(), incoming.origin), incoming);
    const routing = looked?.quiet === true ? { ...routed, recipients: [] } : routed;
    const id = looked?.once === true ? incoming.remoteId : idOf(scheme, incoming.remoteId, hub.id);
    const message = messageOf(id, incoming, routing.to, now);
    const direct = schemeOf(routing.to) !== 'room';
    const admitted = options.admit(message.from, routing.recipients);
    /** By delivery, of those that rules made: what they say instead of the message, and what the rules said. */
    let words: Map<string, Words> | undefined;
    let rulings: Map<string, string> | undefined;
    let release = () => {};
    let folding: Folding | undefined;
    let stored = false;
    const end = () => {
      release();
      if (!stored && folding !== undefined && folding.folds.length > 0) {
        // A writer that dies between a commit and its word leaves it to be seen whether what waits was changed.
        stored = isKept(id);
      }
      folding?.settle(stored);
      if (!stored) {
        admitted.undo();
      }
    };
    try {
      const { recipients } = admitted;
      const target = recipients.some(({ ruling }) => ruling?.template !== undefined)
        ? store.read.message(message.inReplyTo ?? '')
        : undefined;
      const wanted: NewDeliveryRow[] = [];
      for (const recipient of recipients) {
        const said = options.wordsFor(recipient, message, target);
        const row = deliveryRow(said === undefined ? message : { ...message, ...said }, recipient, direct);
        if (said !== undefined) {
          words ??= new Map();
          words.set(row.id, said);
        }
        const ruling = options.rulingOf(recipient);
        if (ruling !== undefined) {
          rulings ??= new Map();
          rulings.set(row.id, JSON.stringify(ruling));
        }
        const { missed } = recipient;
        wanted.push(missed === undefined ? row : over(row, message, reasonOfMissed(missed, message.type)));
      }
      folding = outbox.fold(message, wanted, words ?? noWords);
      const { rows, folds } = folding;
      const rewrites = words && rewritesOf(message, rows, words);
      const apps = recipients
        .filter(({ bridge, missed }) => bridge === 'app' && missed === undefined)
        .map(({ address }) => address);
      release = outbox.reserve(recipients);
      const prepared = prepare(withWords(message, rewrites?.get(rows[0]?.id ?? '')), rows);
      const args: Writable<AcceptArgs> = {
        scheme,
        message: headOf(message),
        body: JSON.stringify(message),
        deliveries: rows.map(packDelivery),
        audience: audienceOf(message.from, apps),
        blobs: message.attachments.map(({ sha256 }) => sha256),
      };
      // Most have none of these, and each empty spread of an object costs as much as a member.
      if (looked?.once !== true) {
        args.remoteId = incoming.remoteId;
      }
      if (prepared !== undefined) {
        args.prepared = prepared;
      }
      if (fingerprint !== undefined) {
        args.fingerprint = fingerprint;
      }
      if (folds.length > 0) {
        args.folds = folds;
      }
      if (rewrites !== undefined && rewrites.size > 0) {
        args.rewrites = rewrites;
      }
      if (rulings !== undefined) {
        args.rulings = rulings;
      }
      if (isReading(message)) {
        args.device = message.from;
      }
      return {
        args,
        end,
        settle(result) {
          if (result.repeated) {
            if (fingerprint !== undefined && !result.same) {
              throw otherBody();
            }
            counters.add('accept/repeated');
            return { id: result.id, repeated: true };
          }
          stored = true;
          counters.add('accept/stored');
          const delivery = rows[0]?.id ?? '';
          options.recent.keep(
            message,
            args.body.length,
            apps,
            prepared && { delivery, bytes: prepared.bytes },
          );
          release();
          folding?.settle(true);
          const goesFar = recipients.length > apps.length;
          if (goesFar) {
            const open = rows.flatMap((row, index) =>
              row.bridge === 'app' || row.state !== 'queued'
                ? []
                : [
                    {
                      ...row,
                      seq: result.seqs[index] ?? 0,
                      remembered: prepared !== undefined,
                      ...(rewrites?.has(row.id) === true ? { rewritten: 1 } : {}),
                    },
                  ],
            );
            outbox.add(open);
          }
          if (message.assurance === 'signed') {
            options.onTraffic([message.from], 'writer');
          }
          if (goesFar) {
            options.onTraffic(farSides(recipients), 'friend');
          }
          if (apps.length > 0) {
            options.onInbox(apps);
          }
          const deliveries = rows.map(row => newViewOf(row, message.acceptedAt));
          return { id: message.id, repeated: false, fresh: { message, json: args.body, deliveries } };
        },
      };
    } catch (error) {
      end();
      throw error;
    }
  }

  return {
    async accept(scheme, incoming, looked) {
      const known = look(scheme, incoming, looked);
      if (known !== undefined) {
        return known;
      }
      if (incoming.attachments !== undefined && incoming.attachments.length > 0) {
        await lookForBlobs(incoming.attachments);
      }
      const composed = compose(scheme, incoming, looked);
      try {
        const pressing = { urgent: incoming.urgent === true };
        return composed.settle(await store.committer.commit('accept', packAccept(composed.args), pressing));
      } finally {
        composed.end();
      }
    },
    async acceptAll(scheme, all, looked) {
      for (const incoming of all) {
        if (look(scheme, incoming, looked) === undefined) {
          await lookForBlobs(incoming.attachments ?? []);
        }
      }
      using stack = new DisposableStack();
      const composed = all.map(incoming => {
        const one = compose(scheme, incoming, looked);
        stack.defer(one.end);
        return one;
      });
      const results = await store.committer.commit(
        'acceptAll',
        composed.map(({ args }) => args),
      );
      return composed.map((one, index) => one.settle(results[index] as AcceptResult));
    },
  };
}

/** A message that is ready to be written. */
interface Composed {
  readonly args: AcceptArgs;
  /** What follows from its being on disk. */
  settle(result: AcceptResult): AcceptedMessage;
  /** Whether it is or not: gives back what was kept for it. */
  end(): void;
}

function otherBody(): GatewayError {
  return new GatewayError('request/idempotency-mismatch', 'the key was used for another message');
}

const noWords: ReadonlyMap<string, Words> = new Map();

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** JSON of what deliveries say instead of the message. */
function rewritesOf(
  message: Message,
  rows: readonly NewDeliveryRow[],
  words: ReadonlyMap<string, Words>,
): ReadonlyMap<string, string> {
  const rewrites = new Map<string, string>();
  for (const row of rows) {
    const { id, state } = row;
    // What was for nobody may go yet: its message may prove to have arrived.
    const said = state === 'cancelled' && !isForNobody(row) ? undefined : words.get(id);
    if (said !== undefined) {
      rewrites.set(id, JSON.stringify(wordsIn(message, said)));
    }
  }
  return rewrites;
}

function farSides(recipients: readonly Recipient[]): readonly Address[] {
  return recipients.filter(({ bridge }) => bridge !== 'app').map(({ address }) => address);
}

/** What has passed as many hubs as it may goes to the apps of this one and to nobody far away. */
function onward(routing: Routing, { via }: Incoming): Routing {
  return (via?.length ?? 0) < mostHubs
    ? routing
    : { ...routing, recipients: routing.recipients.filter(({ bridge }) => bridge === 'app') };
}
