import type { Bridge, BridgePort } from '../../src/gateway/bridge.ts';
import { GatewayError } from '../../src/lib/errors.ts';
import { bridgeContract } from './bridge.ts';

/** The smallest bridge that keeps the contract: its far side is a list. */
function listBridge() {
  const arrived = new Map<string, string>();
  let port: BridgePort | undefined;
  let cut: (error: GatewayError) => void = () => undefined;
  const bridge: Bridge = {
    name: 'list',
    carries: {
      textBytes: 1e6,
      attachmentBytes: 0,
      replies: false,
      receipts: false,
      deduplicates: true,
      concurrency: 1,
    },
    async run(given, signal) {
      const lost = Promise.withResolvers<void>();
      cut = lost.reject;
      if (signal.aborted) {
        return;
      }
      signal.addEventListener('abort', () => lost.resolve(), { once: true });
      port = given;
      given.ready();
      try {
        await lost.promise;
      } finally {
        port = undefined;
      }
    },
    async deliver({ id, message }, signal) {
      signal.throwIfAborted();
      if (port === undefined) {
        throw new GatewayError('bridge/unavailable', 'not up', { retryable: true });
      }
      arrived.set(id, message.text);
      return { state: 'delivered' };
    },
  };
  return {
    bridge,
    to: 'list:end',
    arrived: () => [...arrived.values()],
    async say(text: string) {
      await port?.accept({
        remoteId: text,
        from: 'list:end',
        to: 'room:hub',
        type: 'chat.message',
        text,
        assurance: 'hub',
      });
    },
    cut: () => cut(new GatewayError('bridge/unavailable', 'lost')),
    [Symbol.asyncDispose]: async () => undefined,
  };
}

bridgeContract('a list', async () => listBridge());
