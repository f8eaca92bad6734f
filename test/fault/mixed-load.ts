import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MqttClient } from 'mqtt';
import { connectMqtt, eventually, mint, RestInbox, type Seen, WsClient } from '../e2e/clients.ts';
import { callHttp, type Daemon, startDaemon } from '../e2e/daemon.ts';
import { seededRandom } from '../sim/random.ts';
import { startMeshPeer } from './mesh-peer.ts';

/*
 * The real program under mixed load, killed with -9 again and again: an app that posts over REST, one on a WebSocket, a
 * publisher on MQTT, and somebody on the mesh who writes both ways. Each client does what its page of the manual says
 * a careful one does: it repeats under the same key what was not acknowledged, and goes on from its last cursor.
 */

export interface MixedLoadOptions {
  readonly seed: number;
  readonly kills: number;
  /** Told after each kill. */
  readonly onKill?: (done: number) => void;
}

export interface MixedLoadReport {
  readonly kills: number;
  /** Sends acknowledged to REST, WebSocket and MQTT clients. */
  readonly rest: number;
  readonly ws: number;
  readonly mqtt: number;
  /** Messages of the mesh that were proven to it. */
  readonly mesh: number;
  /** Events read by the stream that resumes by `Last-Event-ID`. */
  readonly events: number;
}

/** Most sends of one client that are not acknowledged. */
const inFlight = 4;

/** What ends with a connection is tried again after the restart; what was asserted is not. */
function cut(error: unknown): void {
  if (error instanceof assert.AssertionError) {
    throw error;
  }
}

/** Runs it once; rejects where something acknowledged is not there, or is there twice. */
export async function runMixedLoad({ seed, kills, onKill }: MixedLoadOptions): Promise<MixedLoadReport> {
  const random = seededRandom(seed);
  const pause = (most: number) => new Promise(resolve => setTimeout(resolve, random.fraction() * most));
  await using cleanup = new AsyncDisposableStack();
  const peer = cleanup.use(await startMeshPeer());
  const folder = await mkdtemp(join(tmpdir(), 'kos-mixed-'));
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  const start = () =>
    startDaemon({
      data: join(folder, 'data'),
      config: {
        interfaces: [{ name: 'uplink', kind: 'tcp-client', host: '127.0.0.1', port: peer.port }],
        log: 'error',
      },
    });
  let daemon: Daemon = await start();
  cleanup.defer(() => daemon[Symbol.asyncDispose]());
  const all = new AbortController();
  cleanup.defer(() => all.abort());
  const to = `lxmf:${peer.address}`;
  const hub = daemon.ready.lxmf;
  const tokens = {
    poster: await mint(daemon, 'poster', { rooms: [] }),
    reader: await mint(daemon, 'reader'),
    live: await mint(daemon, 'live'),
    watcher: await mint(daemon, 'watcher'),
    sensor: await mint(daemon, 'sensor', { rooms: [] }),
  };

  /** Texts by who was told that they are safe. */
  const acknowledged = { rest: new Set<string>(), ws: new Set<string>(), mqtt: new Set<string>() };
  /** Texts of the acknowledged posts to the app that reads. */
  const toReader = new Set<string>();
  const proven = new Set<string>();

  const rest = createPoster({
    to: [to, 'app:reader'],
    token: tokens.poster,
    onSafe(text, recipient) {
      (recipient === to ? acknowledged.rest : toReader).add(text);
    },
  });
  const inbox = new RestInbox(() => daemon, tokens.reader);
  const live = createLive(tokens.live, to, text => acknowledged.ws.add(text));
  const stream = createStream(tokens.watcher);
  const sensor = createPublisher(tokens.sensor, peer.address, text => acknowledged.mqtt.add(text));
  cleanup.defer(() => sensor.close());
  cleanup.defer(() => live.drop());

  let said = 0;
  const speak = async (signal: AbortSignal) => {
    while (!signal.aborted) {
      const text = `mesh ${said++}`;
      // It goes on over the kill: the same bytes again, until they are proven.
      void peer.send(hub, text, all.signal).then(
        () => proven.add(text),
        () => {},
      );
      await pause(120);
    }
  };
  const repeat = async (signal: AbortSignal, act: () => Promise<unknown>, most: number) => {
    while (!signal.aborted) {
      await act();
      await pause(most);
    }
  };

  for (let round = 0; round < kills; round++) {
    const stop = new AbortController();
    const { signal } = stop;
    const current = daemon;
    const following = stream.follow(current, signal).catch(cut);
    await Promise.all([live.connect(current), sensor.connect(current), peer.announce(), stream.begun]);
    const traffic = Promise.all([
      following,
      repeat(signal, () => rest.post(current), 15).catch(cut),
      repeat(signal, () => inbox.read(1), 5).catch(cut),
      repeat(signal, async () => live.send(), 25).catch(cut),
      repeat(signal, async () => sensor.publish(), 25).catch(cut),
      speak(signal),
    ]);
    await pause(1200);
    await current.kill();
    stop.abort();
    live.drop();
    await traffic;
    daemon = await start();
    onKill?.(round + 1);
  }

  const last = daemon;
  const stop = new AbortController();
  await Promise.all([live.connect(last), sensor.connect(last), peer.announce()]);
  const following = stream.follow(last, stop.signal).catch(cut);
  await rest.finish(last);
  await eventually('the WebSocket has its acknowledgements', () => live.pending() === 0, 60_000);
  await eventually('the publisher has its acknowledgements', () => sensor.pending() === 0, 60_000);
  await eventually('all of the mesh is proven', () => proven.size === said, 120_000);
  const sent = [...acknowledged.rest, ...acknowledged.ws, ...acknowledged.mqtt];
  await eventually(
    'everything acknowledged is with the peer',
    () => {
      const there = new Set(peer.received.values());
      return sent.every(text => there.has(text));
    },
    120_000,
  );
  await eventually('the inbox is read to its end', async () => (await inbox.read()) === 0);
  const readers: Record<string, readonly Seen[]> = { inbox: inbox.seen, ws: live.seen(), sse: stream.seen };
  for (const [name, seen] of Object.entries({ ws: live.seen, sse: () => stream.seen })) {
    await eventually(
      `${name} has all of the mesh`,
      () => {
        const texts = new Set(seen().map(({ text }) => text));
        return [...proven].every(text => texts.has(text));
      },
      60_000,
    );
  }
  stop.abort();
  await following;

  once('the peer', [...peer.received.values()], sent);
  for (const [name, seen] of Object.entries(readers)) {
    const texts = seen.map(({ text }) => text);
    once(name, texts, name === 'inbox' ? [...proven, ...toReader] : [...proven]);
    assert.equal(new Set(seen.map(({ id }) => id)).size, seen.length, `${name} saw a message twice`);
  }
  assert.equal(await last.stop(), 0, 'and it still stops cleanly');
  return {
    kills,
    rest: acknowledged.rest.size + toReader.size,
    ws: acknowledged.ws.size,
    mqtt: acknowledged.mqtt.size,
    mesh: proven.size,
    events: stream.seen.length,
  };
}

/** Every text that was promised is there, and none is there twice. */
function once(who: string, there: readonly string[], promised: readonly string[]): void {
  const counts = new Map<string, number>();
  for (const text of there) {
    counts.set(text, (counts.get(text) ?? 0) + 1);
  }
  assert.deepEqual(
    promised.filter(text => !counts.has(text)),
    [],
    `${who} lacks what was acknowledged`,
  );
  assert.deepEqual(
    [...counts].filter(([, times]) => times !== 1),
    [],
    `${who} has something twice`,
  );
}

/** Posts over REST, each under its key until it is answered. */
function createPoster(options: {
  readonly to: readonly string[];
  readonly token: string;
  readonly onSafe: (text: string, to: string) => void;
}) {
  let next = 0;
  let pending: number | undefined;
  const post = async (daemon: Daemon) => {
    const number = pending ?? next++;
    pending = number;
    const text = `rest ${number}`;
    const to = options.to[number % options.to.length] as string;
    const answer = await callHttp<Seen>(daemon.ready.http, 'POST', '/v1/messages', {
      token: options.token,
      body: { to, text },
      headers: { 'idempotency-key': `post-${number}` },
    });
    assert.ok(answer.status === 201 || answer.status === 200, JSON.stringify(answer.body));
    options.onSafe(text, to);
    pending = undefined;
  };
  return {
    post,
    async finish(daemon: Daemon) {
      if (pending !== undefined) {
        await post(daemon);
      }
    },
  };
}

/** Sends and hears on a WebSocket: what was not acknowledged is sent again under its id, events go on from the cursor. */
function createLive(token: string, to: string, onSafe: (text: string) => void) {
  const client = new WsClient();
  const waiting = new Map<string, string>();
  let next = 0;
  let looked = 0;
  const look = () => {
    for (; looked < client.frames.length; looked++) {
      const { op, id, problem } = client.frames[looked] as { op: string; id?: string; problem?: unknown };
      assert.notEqual(op, 'error', JSON.stringify(problem));
      const text = op === 'ack' && id !== undefined ? waiting.get(id) : undefined;
      if (text !== undefined && id !== undefined) {
        waiting.delete(id);
        onSafe(text);
      }
    }
  };
  const say = (id: string, text: string) => client.send({ op: 'send', id, message: { to, text } });
  return {
    async connect(daemon: Daemon) {
      look();
      await client.connect(daemon, token, 'live');
      for (const [id, text] of waiting) {
        say(id, text);
      }
    },
    send() {
      look();
      if (waiting.size < inFlight) {
        const text = `ws ${next}`;
        waiting.set(`ws-${next++}`, text);
        say(`ws-${next - 1}`, text);
      }
    },
    pending() {
      look();
      return waiting.size;
    },
    seen: () => client.seen,
    drop: () => client.drop(),
  };
}

/** Publishes with QoS 1 and 2 by turns; its client repeats by itself what was not acknowledged. */
function createPublisher(token: string, destination: string, onSafe: (text: string) => void) {
  let client: MqttClient | undefined;
  let topic = '';
  let next = 0;
  let pending = 0;
  return {
    pending: () => pending,
    async connect(daemon: Daemon) {
      if (client === undefined) {
        client = (await connectMqtt(daemon, 'sensor', token)).client;
        client.on('error', () => {});
        topic = `kos/v1/${daemon.ready.hub.slice(0, 8)}/mesh/${destination}/tx`;
        return;
      }
      const { outgoingStore, incomingStore } = client;
      const open = client;
      client.options.port = Number(new URL(daemon.ready.mqtt).port);
      // It repeats what was not acknowledged only with its stores, and without the DUP that QoS 1 must have.
      for await (const packet of outgoingStore.createStream()) {
        (packet as { dup?: boolean }).dup = packet.cmd === 'publish';
      }
      // A hub that starts on a busy machine may be too slow for one try.
      for (let tries = 0; !open.connected; tries++) {
        assert.ok(tries < 20, 'the publisher never got in');
        const settled = new Promise(resolve => {
          open.once('connect', resolve);
          open.once('close', () => resolve(undefined));
        });
        open.reconnect({ outgoingStore, incomingStore });
        await settled;
      }
    },
    publish() {
      if (client === undefined || pending >= inFlight || !client.connected) {
        return;
      }
      const text = `mqtt ${next++}`;
      pending += 1;
      void client
        .publishAsync(topic, text, { qos: next % 2 === 0 ? 1 : 2 })
        .then(() => onSafe(text), cut)
        .finally(() => {
          pending -= 1;
        });
    },
    async close() {
      await client?.endAsync(true);
    },
  };
}

/** Server-sent events, gone on with `Last-Event-ID`. */
function createStream(token: string) {
  const seen: Seen[] = [];
  const begun = Promise.withResolvers<void>();
  let lastId: string | undefined;
  return {
    seen,
    /** It has a place to go on from. */
    begun: begun.promise,
    async follow(daemon: Daemon, signal: AbortSignal) {
      const response = await fetch(`${daemon.ready.http}/v1/events`, {
        headers: {
          authorization: `Bearer ${token}`,
          accept: 'text/event-stream',
          ...(lastId === undefined ? {} : { 'last-event-id': lastId }),
        },
        signal,
      });
      assert.equal(response.status, 200);
      let text = '';
      for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
        text += Buffer.from(chunk).toString('utf8');
        for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
          const field = (name: string) => new RegExp(`^${name}: ?(.*)$`, 'm').exec(text.slice(0, end))?.[1];
          const [id, data] = [field('id'), field('data')];
          lastId = id ?? lastId;
          begun.resolve();
          const event =
            data === undefined ? undefined : (JSON.parse(data) as { kind: string; message?: Seen });
          if (event?.kind === 'message.accepted' && event.message !== undefined) {
            seen.push(event.message);
          }
          text = text.slice(end + 2);
        }
      }
    },
  };
}
