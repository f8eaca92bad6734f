import type { Bridge, BridgePort, Delivery, Progress } from '../../gateway/bridge.ts';
import { type Address, nameOf } from '../../gateway/message.ts';
import { GatewayError } from '../../lib/errors.ts';

/** What the bridge needs of the webhooks. */
export interface Addressees {
  has(id: string): boolean;
  deliver(id: string, delivery: Delivery, signal: AbortSignal): Promise<Progress>;
}

/**
 * Webhooks as members of rooms and targets of routes: `webhook:<id>`. Such a message waits in the outbox like any other,
 * and its delivery says what became of it. The bridge is there from the start; webhooks are loaded with the first one.
 */
export function createWebhookBridge(addressees: () => Addressees | undefined): Bridge & {
  /** The endpoint of a webhook can be tried now. */
  reachable(id: string): void;
} {
  let port: BridgePort | undefined;
  return {
    name: 'webhook',
    carries: {
      textBytes: 256 * 1024,
      attachmentBytes: Number.MAX_SAFE_INTEGER,
      replies: true,
      receipts: false,
      deduplicates: true,
      concurrency: 32,
    },
    reaches: address => addressees()?.has(nameOf(address)) ?? false,
    async run(opened, signal) {
      port = opened;
      try {
        opened.ready();
        if (!signal.aborted) {
          await new Promise(resolve => signal.addEventListener('abort', resolve, { once: true }));
        }
      } finally {
        port = undefined;
      }
    },
    async deliver(delivery, signal) {
      const known = addressees();
      if (port === undefined || known === undefined) {
        throw new GatewayError('bridge/unavailable', 'webhooks do not run', { retryable: true });
      }
      return await known.deliver(nameOf(delivery.to), delivery, signal);
    },
    reachable: id => port?.reachable(addressOf(id)),
  };
}

/** The address of a webhook. */
export function addressOf(id: string): Address {
  return `webhook:${id}`;
}
