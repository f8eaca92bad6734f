import assert from 'node:assert/strict';
import type { Bridge, BridgePort, Delivery, Progress } from '../../../src/gateway/bridge.ts';
import { schemeOf } from '../../../src/gateway/message.ts';
import { GatewayError } from '../../../src/lib/errors.ts';
import { type FarSide, type Packet, packetOf } from './far-side.ts';
import type { Hub, Process } from './hub.ts';
import type { World } from './world.ts';

/** What is known of one delivery from outside the hub: whether it went, and what a person said of it. */
export interface Known {
  attempts: number;
  /** Attempts after which something may be at the far side. */
  left: number;
  /** The key of what left. */
  key: string | undefined;
  /** Since somebody last asked for it to be sent again. */
  leftSinceAsked: number;
  /** How often somebody asked for what had ended to be sent again. */
  asked: number;
  /** It was shown as ambiguous, and nobody has said anything since. */
  isHeld: boolean;
  isUnderway: boolean;
  /** Words that were changed or taken back before somebody asked for it to be sent again. */
  stale: ReadonlySet<string>;
  /** The process that somebody has told what is to become of it, and that has not answered. */
  told: Process | undefined;
}

/** ms without a proof after which an attempt is given up. */
const proofPatience = 20_000;

/** The bridges of one process of a hub. */
export function bridgesOf(world: World, hub: () => Hub, process: Process): readonly Bridge[] {
  const { options } = world;
  const lxmf = carrier(world, hub, process, {
    name: 'lxmf',
    carries: {
      ...most,
      deduplicates: true,
      tellsWhenSent: true,
      concurrency: options.concurrency,
      window: options.window,
    },
    ...(options.prepares && {
      prepare: (delivery: Pick<Delivery, 'id' | 'to' | 'message'>) => {
        const key = world.newKey(delivery.id);
        return { bytes: Buffer.from(JSON.stringify(packetOf(delivery, key))), remoteId: key };
      },
    }),
  });
  const plain = carrier(world, hub, process, {
    name: 'sms',
    carries: {
      ...most,
      deduplicates: false,
      tellsWhenSent: options.plainTells,
      concurrency: options.concurrency,
    },
  });
  return [lxmf, plain];
}

const most = { textBytes: 1e6, attachmentBytes: 1e8, replies: true, receipts: true };

function carrier(
  world: World,
  hubOf: () => Hub,
  process: Process,
  shape: Pick<Bridge, 'name' | 'carries' | 'prepare'>,
): Bridge {
  const { chance, clock } = world;
  const { deduplicates, tellsWhenSent } = shape.carries;
  const sleep = (ms: number, signal: AbortSignal) => process.clock.sleep(ms, signal);

  /** What it would say again at every attempt: settled on disk before the first leaves. */
  async function settled(delivery: Delivery, port: BridgePort): Promise<Packet> {
    if (!deduplicates) {
      return packetOf(delivery, world.newKey(delivery.id));
    }
    if (delivery.remembered !== undefined) {
      return JSON.parse(Buffer.from(delivery.remembered).toString()) as Packet;
    }
    const packet = packetOf(delivery, world.newKey(delivery.id));
    await port.remember(delivery.id, Buffer.from(JSON.stringify(packet)), packet.key);
    return packet;
  }

  /** Lets a packet go, in the order of the link; resolves once its far side has it and has said so. */
  function transmit(side: FarSide, packet: Packet, known: Known): Promise<void> {
    const hub = hubOf();
    const { mood } = side;
    const isLost = mood === 'loses' && chance.odds(0.5);
    const isSilent = mood === 'loses' && chance.odds(0.5);
    const transit = mood === 'slow' ? 500 + chance.below(25_000) : 1 + chance.below(30);
    const at = world.inOrder(hub.name, side.address, transit);
    known.left += 1;
    known.leftSinceAsked += 1;
    known.key = packet.key;
    const proof = Promise.withResolvers<void>();
    if (isLost) {
      world.tell(`${hub.name} → ${world.short(side.address)}: ${packet.key} is lost`);
    } else {
      clock.after(at - clock.monotonic(), () => {
        void world.arrive(hub, side, packet).then(isThere => {
          if (isThere) {
            const how = isSilent ? ', silently' : '';
            world.tell(`${hub.name} → ${world.short(side.address)}: ${packet.key} has arrived${how}`);
          }
          if (isThere && !isSilent) {
            clock.after(1 + chance.below(20), proof.resolve);
          }
        });
      });
    }
    return proof.promise;
  }

  async function deliver(delivery: Delivery, signal: AbortSignal): Promise<Progress> {
    const hub = hubOf();
    const side = world.sideOf(delivery.to);
    const known = world.known(delivery.id);
    const port = process.ports.get(shape.name)!;
    known.attempts += 1;
    const name = `${hub.name} → ${world.short(delivery.to)}: ${world.short(delivery.id)}`;
    world.tell(
      `${name} attempt ${delivery.attempt} of ${delivery.message.type} ${JSON.stringify(delivery.message.text)}, ${side.mood}`,
    );
    world.mayBegin(hub, process, delivery, known);
    assert.ok(!known.stale.has(delivery.message.text), `${name} says what is not meant any more`);
    await sleep(chance.below(10), signal);
    const poison = world.poisonOf(side, delivery.message.text);
    if (poison === 'refused' || side.mood === 'refuses') {
      throw new GatewayError('bridge/rejected', 'too strange');
    }
    if (poison === 'breaks') {
      throw new TypeError('a mistake in a bridge');
    }
    if (side.mood === 'away') {
      if (chance.odds(0.5)) {
        port.explain(delivery.id, 'no path yet');
        await sleep(chance.below(30_000), signal);
      }
      throw new GatewayError('bridge/unavailable', 'no path yet', { retryable: true });
    }
    const packet = await settled(delivery, port);
    signal.throwIfAborted();
    if (known.leftSinceAsked > 0) {
      assert.ok(deduplicates, `${name} is sent again by itself, and its far side cannot tell`);
      assert.equal(packet.key, known.key, `${name} says something else than what has left`);
    }
    const proof = transmit(side, packet, known);
    if (tellsWhenSent === true) {
      await port.report(delivery.id, { state: 'sent', ...(chance.odds(0.2) && { alone: true }) });
    }
    if (side.mood === 'later' && deduplicates) {
      void proof.then(() => world.say(hub, shape.name, delivery.id));
      return { state: 'sent', remoteId: packet.key };
    }
    const given = Promise.withResolvers<void>();
    const cancel = process.clock.after(proofPatience, () => {
      given.reject(
        tellsWhenSent === true
          ? new GatewayError('bridge/unavailable', 'no proof came', { retryable: true })
          : new GatewayError('mesh/timeout', 'no proof came', { retryable: true }),
      );
      // It may come yet.
      void proof.then(() => world.say(hub, shape.name, delivery.id));
    });
    signal.addEventListener('abort', () => given.reject(signal.reason), { once: true });
    await Promise.race([proof, given.promise]).finally(cancel);
    return { state: 'delivered', remoteId: packet.key };
  }

  return {
    ...shape,
    reaches: address => schemeOf(address) === shape.name,
    async run(port, signal) {
      const broken = Promise.withResolvers<never>();
      process.ports.set(shape.name, port);
      world.breaks.set(`${hubOf().name} ${shape.name}`, () =>
        broken.reject(new GatewayError('bridge/unavailable', 'the cable is out', { retryable: true })),
      );
      port.ready();
      const aborted = new Promise<void>(resolve =>
        signal.addEventListener('abort', () => resolve(), { once: true }),
      );
      await Promise.race([aborted, broken.promise]);
    },
    deliver(delivery, signal) {
      // What a process that is gone still meant to do never happens.
      if (!process.isAlive) {
        return new Promise(() => {});
      }
      const known = world.known(delivery.id);
      known.isUnderway = true;
      return world.watched(
        deliver(delivery, signal).finally(() => {
          known.isUnderway = false;
        }),
      );
    },
  };
}
