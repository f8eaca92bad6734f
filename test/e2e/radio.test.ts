import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadConfig } from '../../src/config.ts';
import { LoraChannel } from '../../src/demo/lora-channel.ts';
import { RNodeEmulator } from '../../src/demo/rnode-emulator.ts';
import type { Client, MessageView } from '../../src/gateway/desk.ts';
import type { MessageId } from '../../src/gateway/message.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLog } from '../../src/lib/log.ts';
import { systemRandom } from '../../src/lib/random.ts';
import { type Hub, startHub } from '../../src/start/hub.ts';
import { seededRandom } from '../sim/random.ts';

/** A hub whose only way out is a radio on the channel; the radio is the hub's for as long as the test runs. */
interface RadioHub extends AsyncDisposable {
  hub: Hub;
  readonly emulator: RNodeEmulator;
  restart(): Promise<void>;
}

async function radioHub(name: string, channel: LoraChannel, radio: object = {}): Promise<RadioHub> {
  const folder = await mkdtemp(join(tmpdir(), 'kos-radio-hub-'));
  const emulator = new RNodeEmulator({
    name,
    channel,
    clock: systemClock,
    random: seededRandom(name.length),
    x: name.length * 100,
  });
  const start = () =>
    startHub({
      config: loadConfig({
        keys: {
          hub: { name, data: join(folder, 'data') },
          listen: { http: '127.0.0.1:0', mqtt: '127.0.0.1:0' },
          interfaces: [
            {
              name: 'lora',
              kind: 'rnode',
              port: '/dev/radio',
              region: 'eu868-p',
              spreadingFactor: 7,
              bandwidth: 250_000,
              ...radio,
            },
          ],
        },
      }),
      clock: systemClock,
      random: systemRandom,
      log: silentLog,
      openSerial: () => emulator.open(),
    });
  const made: RadioHub = {
    hub: await start(),
    emulator,
    async restart() {
      await made.hub.close();
      made.hub = await start();
    },
    async [Symbol.asyncDispose]() {
      await made.hub.close();
      emulator.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
  return made;
}

const ownerOf = ({ desk }: Hub) => desk.clients.list().find(({ name }) => name === 'owner') as Client;

async function until<T>(found: () => T | undefined | false | Promise<T | undefined | false>): Promise<T> {
  for (let waited = 0; waited < 60_000; waited += 50) {
    const value = await found();
    if (value !== undefined && value !== false) {
      return value;
    }
    await systemClock.sleep(50);
  }
  throw new Error(`did not come about within 60 s: ${found}`);
}

async function post({ desk }: Hub, to: string, text: string, priority: 'critical' | 'normal' | 'bulk') {
  const accepted = await desk.messages.post(ownerOf({ desk } as Hub), { to, text, priority }, undefined);
  return accepted.message.id;
}

function isKnown({ desk }: Hub, to: string): boolean {
  try {
    return desk.directory.get(ownerOf({ desk } as Hub), to).address === to;
  } catch {
    return false;
  }
}

const deliveryOf = ({ desk }: Hub, id: MessageId) =>
  (desk.messages.get(ownerOf({ desk } as Hub), id) as MessageView).deliveries[0]!;

test('two hubs write to each other by radio; what there is no airtime for waits and says until when, over a restart', async () => {
  const channel = new LoraChannel({ clock: systemClock, random: seededRandom(4) });
  await using far = await radioHub('far away', channel);
  // A tenth of a percent: 3.6 s an hour.
  await using near = await radioHub('near', channel, { airtimeLimit: 0.1 });
  const to = `lxmf:${far.hub.facts.lxmf}`;
  await until(async () => {
    await far.hub.announce();
    await systemClock.sleep(2000);
    return isKnown(near.hub, to);
  });
  const first = await post(near.hub, to, 'can you hear me?', 'normal');
  await until(() => deliveryOf(near.hub, first).state === 'delivered');
  const bulky: MessageId[] = [];
  const waiting = await until(async () => {
    const id = await post(near.hub, to, `reading ${bulky.length} ${'x'.repeat(200)}`, 'bulk');
    bulky.push(id);
    return until(() => {
      const delivery = deliveryOf(near.hub, id);
      return delivery.state === 'delivered' ? 'delivered' : delivery.code === 'airtime/exhausted' && delivery;
    }).then(end => end !== 'delivered' && end);
  });
  assert.match(waiting.reason ?? '', /^airtime budget until \d\d:\d\d$/);
  assert.ok(waiting.state === 'queued' && waiting.nextAt !== undefined && waiting.nextAt > systemClock.now());
  const urgent = await post(near.hub, to, 'fire', 'critical');
  await until(() => deliveryOf(near.hub, urgent).state === 'delivered');
  await near.restart();
  const later = await post(near.hub, to, 'a reading after the restart', 'bulk');
  const again = await until(() => {
    const delivery = deliveryOf(near.hub, later);
    return delivery.code === 'airtime/exhausted' && delivery;
  });
  assert.match(again.reason ?? '', /^airtime budget until \d\d:\d\d$/);
  const used = channel.airtime();
  assert.ok(used.near! <= 3600, `${used.near} ms of 3600`);
});
