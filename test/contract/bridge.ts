import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type {
  Accepted,
  Bridge,
  BridgePort,
  Delivery,
  DeliveryId,
  Incoming,
  LaterProgress,
} from '../../src/gateway/bridge.ts';
import { type Address, defaultLifetime, type Message, messageId } from '../../src/gateway/message.ts';
import { GatewayError, isGatewayError } from '../../src/lib/errors.ts';

/** A bridge with its far side. */
export interface FarSide extends AsyncDisposable {
  readonly bridge: Bridge;
  /** An address that is there and takes messages. */
  readonly to: Address;
  /** Texts that arrived there, in order, repeats dropped where the far side drops them. */
  readonly arrived: () => readonly string[];
  /** The far side says something to the hub; resolves when it was acknowledged. */
  readonly say?: (text: string) => Promise<void>;
  /** Breaks the connection for good. */
  readonly cut?: () => void;
}

/** What every Bridge promises (src/gateway/bridge.ts). */
export function bridgeContract(name: string, make: () => Promise<FarSide>): void {
  describe(`${name} as a Bridge`, () => {
    test('is ready once, runs until it is told to stop, and leaves nothing open', async () => {
      const before = resources();
      {
        await using far = await make();
        const running = new Running(far.bridge);
        await running.up;
        await running.stop();
        assert.equal(running.ready, 1);
        assert.equal(running.failure, undefined);
      }
      for (let i = 0; i < 200 && resources().length > before.length; i++) {
        await turn();
      }
      assert.ok(resources().length <= before.length, `left open: ${resources()}, before: ${before}`);
    });

    test('runs again after it was stopped, and delivers', async () => {
      await using far = await make();
      await new Running(far.bridge).once();
      const running = new Running(far.bridge);
      await running.up;
      await running.deliver(deliveryOf(far.to, 'after a restart'));
      await until(() => far.arrived().includes('after a restart'));
      await running.stop();
    });

    test('refuses to deliver before it is up and after it stopped, and says it may be tried again', async () => {
      await using far = await make();
      const early = far.bridge.deliver(deliveryOf(far.to, 'early'), AbortSignal.timeout(5000));
      await assert.rejects(early, isUnavailable);
      await new Running(far.bridge).once();
      const late = far.bridge.deliver(deliveryOf(far.to, 'late'), AbortSignal.timeout(5000));
      await assert.rejects(late, isUnavailable);
    });

    test('delivers in the order it is given, without and with text', async () => {
      await using far = await make();
      const running = new Running(far.bridge);
      await running.up;
      const texts = ['first', '', 'ünïcode 🛰 “third”'];
      for (const text of texts) {
        const { state } = await running.deliver(deliveryOf(far.to, text));
        assert.ok(state === 'sent' || state === 'delivered');
      }
      await until(() => far.arrived().length >= texts.length);
      assert.deepEqual(far.arrived(), texts);
      await running.stop();
    });

    test('the same delivery twice arrives once, where the far side can tell', async () => {
      await using far = await make();
      if (!far.bridge.carries.deduplicates) {
        return;
      }
      const running = new Running(far.bridge);
      await running.up;
      const delivery = deliveryOf(far.to, 'once');
      await running.deliver(delivery);
      await running.deliver({ ...delivery, attempt: 2 });
      await running.deliver(deliveryOf(far.to, 'another'));
      await until(() => far.arrived().includes('another'));
      assert.deepEqual(far.arrived(), ['once', 'another']);
      await running.stop();
    });

    test('an attempt ends with its signal', async () => {
      await using far = await make();
      const running = new Running(far.bridge);
      await running.up;
      const stopped = new AbortController();
      stopped.abort(new GatewayError('request/conflict', 'cancelled'));
      await assert.rejects(far.bridge.deliver(deliveryOf(far.to, 'never'), stopped.signal));
      await running.stop();
      assert.ok(!far.arrived().includes('never'));
    });

    test('the far side is acknowledged after the commit and not before', async () => {
      await using far = await make();
      if (far.say === undefined) {
        return;
      }
      const running = new Running(far.bridge);
      await running.up;
      const commit = Promise.withResolvers<void>();
      running.beforeAccept = () => commit.promise;
      let acknowledged = false;
      const said = far.say('hello').then(() => {
        acknowledged = true;
      });
      await until(() => running.offered > 0);
      for (let i = 0; i < 50; i++) {
        await turn();
      }
      assert.equal(acknowledged, false);
      commit.resolve();
      await said;
      assert.deepEqual(
        running.accepted.map(incoming => incoming.text),
        ['hello'],
      );
      await running.stop();
    });

    test('what goes wrong has a code of the contract when the far side is lost', async () => {
      await using far = await make();
      if (far.cut === undefined) {
        return;
      }
      const running = new Running(far.bridge);
      await running.up;
      far.cut();
      await running.ended;
      assert.ok(isGatewayError(running.failure), String(running.failure));
    });
  });
}

/** A run of the bridge with a port that keeps what it is told. */
class Running {
  ready = 0;
  offered = 0;
  failure: unknown;
  readonly accepted: Incoming[] = [];
  readonly remembered = new Map<DeliveryId, Uint8Array>();
  readonly reports: { id: DeliveryId; progress: LaterProgress }[] = [];
  beforeAccept: () => Promise<void> = async () => undefined;
  readonly up: Promise<void>;
  readonly ended: Promise<void>;
  readonly #stop = new AbortController();
  readonly #bridge: Bridge;
  readonly #known = new Map<string, string>();

  constructor(bridge: Bridge) {
    this.#bridge = bridge;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.up = promise;
    promise.catch(() => undefined);
    this.ended = bridge.run(this.#port(resolve), this.#stop.signal).then(
      () => reject(new GatewayError('bridge/unavailable', 'ended before it was ready')),
      error => {
        this.failure = error;
        reject(error);
      },
    );
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.ended;
  }

  async once(): Promise<void> {
    await this.up;
    await this.stop();
  }

  deliver(delivery: Delivery) {
    const remembered = this.remembered.get(delivery.id);
    return this.#bridge.deliver(
      { ...delivery, ...(remembered === undefined ? {} : { remembered }) },
      AbortSignal.timeout(20_000),
    );
  }

  #port(up: () => void): BridgePort {
    const name = this.#bridge.name;
    return {
      ready: () => {
        this.ready += 1;
        up();
      },
      accept: async (incoming): Promise<Accepted> => {
        this.offered += 1;
        await this.beforeAccept();
        const known = this.#known.get(incoming.remoteId);
        if (known !== undefined) {
          return { id: known, repeated: true };
        }
        const id = messageId(name, incoming.remoteId);
        this.#known.set(incoming.remoteId, id);
        this.accepted.push(incoming);
        return { id, repeated: false };
      },
      remember: async (id, bytes) => {
        this.remembered.set(id, bytes.slice());
      },
      report: async (id, progress) => {
        this.reports.push({ id, progress });
      },
      explain: () => undefined,
      reachable: () => undefined,
      resolve: remoteId => this.#known.get(remoteId),
      remoteIds: message => [...this.#known].filter(([, id]) => id === message).map(([remoteId]) => remoteId),
      seen: () => undefined,
      refuses: () => false,
      host: async () => undefined,
      residentOf: () => undefined,
      nameOf: address => address,
      blobs: {
        put: async () => ({ sha256: '0'.repeat(64), size: 0 }),
        size: async () => undefined,
        about: async () => undefined,
        read: () => Promise.reject(new GatewayError('request/not-found', 'no such blob')),
        open: () => Promise.reject(new GatewayError('request/not-found', 'no such blob')),
      },
    };
  }
}

let count = 0;

function deliveryOf(to: Address, text: string): Delivery {
  count += 1;
  const now = Date.now();
  const message: Message = {
    id: messageId('app', `contract/${count}`),
    type: 'chat.message',
    from: 'app:tester',
    to,
    sentAt: now,
    acceptedAt: now,
    expiresAt: now + defaultLifetime,
    priority: 'normal',
    text,
    attachments: [],
    via: [],
    assurance: 'hub',
  };
  return { id: count.toString(16).padStart(32, '0'), to, attempt: 1, message };
}

function isUnavailable(error: unknown): boolean {
  assert.ok(isGatewayError(error, 'bridge/unavailable'), String(error));
  return true;
}

function resources(): readonly string[] {
  return process.getActiveResourcesInfo().filter(kind => kind !== 'Immediate' && kind !== 'Timeout');
}

async function until(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 2000 && !holds(); i++) {
    await new Promise(resolve => setTimeout(resolve, 2));
  }
  assert.ok(holds(), 'it never held');
}
