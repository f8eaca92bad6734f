import type { DeliveryId } from './bridge.ts';
import type { Address, Message, MessageId } from './message.ts';

/** Messages kept, and characters and bytes of them all. */
const most = 256;
const mostLength = 1024 * 1024;

/**
 * What was accepted just now, as it lies on disk: whoever delivers it or tells of it need not read it back.
 * A message that waits longer is read from the store.
 */
export interface RecentMessages {
  /**
   * Once it is on disk. `length` is about what it takes; `apps` are those it went to; `prepared` is what every attempt of its
   * only delivery must say.
   */
  keep(message: Message, length: number, apps: readonly Address[], prepared?: Prepared): void;
  message(id: MessageId): Message | undefined;
  /** Whether it went to this app; undefined where that is not known here any more. */
  wentTo(id: MessageId, app: Address): boolean | undefined;
  prepared(message: MessageId, delivery: DeliveryId): Uint8Array | undefined;
  /** Its rows say something else now. */
  forget(): void;
}

export interface Prepared {
  readonly delivery: DeliveryId;
  readonly bytes: Uint8Array;
}

interface Kept {
  readonly message: Message;
  readonly length: number;
  readonly apps: readonly Address[];
  readonly prepared: Prepared | undefined;
}

export function createRecentMessages(): RecentMessages {
  /** Oldest first. */
  let kept: Kept[] = [];
  let total = 0;
  /** By id, and how many of `kept` are in it: where nobody asks, as most often, nothing has to be put there and taken out. */
  const byId = new Map<MessageId, Kept>();
  let known = 0;

  function find(id: MessageId): Kept | undefined {
    for (; known < kept.length; known++) {
      const one = kept[known] as Kept;
      byId.set(one.message.id, one);
    }
    return byId.get(id);
  }

  function drop(): void {
    const one = kept.shift() as Kept;
    total -= one.length;
    if (known > 0) {
      known -= 1;
      if (byId.get(one.message.id) === one) {
        byId.delete(one.message.id);
      }
    }
  }

  return {
    keep(message, length, apps, prepared) {
      const whole = length + (prepared?.bytes.length ?? 0);
      if (whole > mostLength / 8) {
        return;
      }
      kept.push({ message, length: whole, apps, prepared });
      total += whole;
      while (kept.length > most || total > mostLength) {
        drop();
      }
    },
    message: id => find(id)?.message,
    wentTo: (id, app) => find(id)?.apps.includes(app),
    prepared(id, delivery) {
      const { prepared } = find(id) ?? {};
      return prepared?.delivery === delivery ? prepared.bytes : undefined;
    },
    forget() {
      kept = [];
      total = 0;
      byId.clear();
      known = 0;
    },
  };
}
