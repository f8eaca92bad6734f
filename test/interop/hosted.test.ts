import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { startDaemon } from '../e2e/daemon.ts';
import { missingReference, startPeer } from './peer.ts';

interface Said {
  readonly id: string;
  readonly text: string;
  readonly from: string;
  readonly to: string;
  readonly inReplyTo?: string;
}

/** LXMF 1.2.1: the message that is answered. */
const replyTo = 48;
const skip = await missingReference('1.5.7');

describe('an LXMF peer and residents of a hub', { skip }, () => {
  test('it writes to an app and to a room by their announced names, and is answered, before and after a kill', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'kos-hosted-'));
    await using stack = new AsyncDisposableStack();
    stack.defer(() => rm(folder, { recursive: true, force: true }));
    const data = join(folder, 'data');
    const start = (port: number) =>
      startDaemon({
        data,
        config: {
          interfaces: [{ name: 'server', kind: 'tcp-server', host: '127.0.0.1', port }],
          rooms: { plaza: { members: ['app:board'] } },
        },
      });
    let daemon = await start(0);
    stack.defer(() => daemon[Symbol.asyncDispose]());
    const port = Number(daemon.ready.interfaces.server?.split(':').at(-1));
    const minted = await daemon.kosctl('--json', 'token', 'create', 'board', '--identity', 'own');
    assert.equal(minted.code, 0, minted.stderr);
    const { token, addresses } = JSON.parse(minted.stdout) as { token: string; addresses: string[] };
    const shown = await daemon.kosctl('status');
    assert.ok(
      shown.stdout.includes(addresses[0] as string) && shown.stdout.includes('room:plaza'),
      shown.stdout,
    );

    const peer = stack.use(
      await startPeer({
        interfaces: [{ type: 'client', port }],
        displayName: 'Pat',
        reconnectWait: 1,
        retryWait: 1,
      }),
    );
    await peer.announce();
    const board = await peer.next('announce', ({ name }) => name === 'board');
    const plaza = await peer.next('announce', ({ name }) => name === 'plaza');
    assert.deepEqual(addresses, [`lxmf:${board.destination}`]);
    assert.notEqual(board.identity, daemon.ready.hub);

    const inbox = async (text: string): Promise<Said> => {
      for (let turn = 0; turn < 20; turn++) {
        const { body } = await daemon.call<{ items: { message: Said }[] }>('GET', '/v1/inbox?wait=5', {
          token,
        });
        const found = body.items.find(({ message }) => message.text === text);
        if (found !== undefined) {
          return found.message;
        }
      }
      return assert.fail(`${text} never came`);
    };
    const exchange = async (to: string, asked: string, answered: string, address: string) => {
      const sent = await peer.send({ to, content: asked });
      assert.equal(await peer.delivered(sent.hash), 'delivered');
      const message = await inbox(asked);
      assert.equal(message.from, `lxmf:${peer.destination}`);
      assert.equal(message.to, address);
      const answer = await daemon.call('POST', '/v1/messages', {
        token,
        body: {
          to: address === 'app:board' ? message.from : address,
          text: answered,
          inReplyTo: message.id,
        },
      });
      assert.equal(answer.status, 201);
      const heard = await peer.next(
        'message',
        ({ source, content }) => source === to && content?.endsWith(answered) === true,
      );
      assert.equal(heard.verified, true);
      assert.deepEqual(heard.fields[replyTo], { hex: sent.hash });
      return heard.content;
    };
    assert.equal(
      await exchange(board.destination, 'to the app', 'from the app', 'app:board'),
      'from the app',
    );
    assert.equal(
      await exchange(plaza.destination, 'to the room', 'in the room', 'room:plaza'),
      'board: in the room',
    );

    await daemon.kill();
    daemon = await start(port);
    await peer.next('announce', ({ destination }) => destination === board.destination);
    assert.equal(await exchange(board.destination, 'once more', 'still here', 'app:board'), 'still here');
  });
});
