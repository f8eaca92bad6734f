import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { systemClock } from '../../../src/lib/clock.ts';
import { until } from '../../gateway/fixture.ts';
import { air, openHub } from './hubs.ts';

const file = { name: 'a.txt', mediaType: 'text/plain', base64: 'YWJj' };

describe('what one hub says to another in a row arrives in that order', () => {
  for (const [what, parts] of [
    ['short and long texts', (n: number) => ({ text: `${n}`.padEnd(n % 2 === 0 ? 9000 : 3, '.') })],
    [
      'texts with and without a file',
      (n: number) => ({ text: `${n}`, ...(n % 2 === 0 ? { attachments: [file] } : {}) }),
    ],
  ] as const) {
    test(what, async () => {
      await using stack = new AsyncDisposableStack();
      const ether = air();
      const a = stack.use(await openHub(ether, 'Hub A', { rooms: { plaza: { members: [] } } }));
      const b = stack.use(await openHub(ether, 'Hub B'));
      const { client } = await b.hub.client('board', { identity: 'own' });
      const to = a.addressOf('room:plaza');
      // With a link open and a peer that answers promptly, several are under way at once.
      for (const text of ['one', 'two', 'three']) {
        await b.hub.desk.messages.post(client, { to, text });
        await a.got(text);
        await systemClock.sleep(50);
      }
      for (let n = 0; n < 20; n++) {
        await b.hub.desk.messages.post(client, { to, ...parts(n) });
      }
      await until(() => a.all().length >= 23);
      assert.deepEqual(
        a
          .all()
          .slice(3)
          .map(({ text }) => Number.parseInt(text, 10)),
        Array.from({ length: 20 }, (_, n) => n),
      );
    });
  }
});
