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
  const kept = new Map<MessageId, Kept>();
  // It goes on where it was: a new one would pass what was dropped before, again and again.
  let oldest = kept.keys();
  let total = 0;

  function drop(id: MessageId): void {
    total -= kept.get(id)?.length ?? 0;
    kept.delete(id);
  }

  return {
    keep(message, length, apps, prepared) {
      const whole = length + (prepared?.bytes.length ?? 0);
      if (whole > mostLength / 8) {
        return;
      }
      drop(message.id);
      kept.set(message.id, { message, length: whole, apps, prepared });
      total += whole;
      while (kept.size > most || total > mostLength) {
        const { value: id } = oldest.next();
        if (id === undefined) {
          break;
        }
        drop(id);
      }
    },
    message: id => kept.get(id)?.message,
    wentTo: (id, app) => kept.get(id)?.apps.includes(app),
    prepared(id, delivery) {
      const { prepared } = kept.get(id) ?? {};
      return prepared?.delivery === delivery ? prepared.bytes : undefined;
    },
    forget() {
      kept.clear();
      oldest = kept.keys();
      total = 0;
    },
  };
}
