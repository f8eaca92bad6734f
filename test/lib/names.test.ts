import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { type LookupAddress, Resolver } from 'node:dns';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '../../src/lib/clock.ts';
import { addressesIn, createNames, type Lookup, type NamesParts } from '../../src/lib/names.ts';
import { ManualClock } from '../sim/clock.ts';

type Outcome = readonly string[] | string;

function find(names: Lookup, name: string): Promise<Outcome> {
  return new Promise(resolve =>
    names(name, (error, addresses) =>
      resolve(error === null ? addresses.map(({ address }) => address) : (error.code ?? '')),
    ),
  );
}

/** A name server on loopback: names with `good` have addresses, `no` there are none of, and of others it says nothing. */
async function nameServer() {
  const socket = createSocket('udp4');
  const asked: string[] = [];
  socket.on('message', (question, { port, address }) => {
    const labels: string[] = [];
    let at = 12;
    for (let length = question[at] ?? 0; length > 0; length = question[at] ?? 0) {
      labels.push(question.subarray(at + 1, at + 1 + length).toString());
      at += 1 + length;
    }
    const name = labels.join('.');
    const isFour = question.readUInt16BE(at + 1) === 1;
    asked.push(name);
    const kind = labels[0] ?? '';
    if (!kind.startsWith('good') && !kind.startsWith('no')) {
      return;
    }
    const isThere = kind.startsWith('good') && isFour;
    const head = Buffer.from(question.subarray(0, at + 5));
    head.writeUInt16BE(kind.startsWith('no') ? 0x8183 : 0x8180, 2);
    head.writeUInt16BE(isThere ? 1 : 0, 6);
    head.fill(0, 8, 12);
    const row = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 192, 0, 2, 7]);
    socket.send(isThere ? Buffer.concat([head, row]) : head, port, address);
  });
  await new Promise<void>(resolve => socket.bind(0, '127.0.0.1', resolve));
  return {
    asked,
    dns() {
      const resolver = new Resolver({ timeout: 300, tries: 1 });
      resolver.setServers([`127.0.0.1:${socket.address().port}`]);
      return resolver;
    },
    [Symbol.dispose]: () => void socket.close(),
  };
}

/** The system's way, held in memory. */
function system() {
  const open = new Map<string, (address?: string) => void>();
  const asked: string[] = [];
  const lookup: Lookup = (hostname, callback) => {
    asked.push(hostname);
    open.set(hostname, address => {
      open.delete(hostname);
      const found: LookupAddress[] = address === undefined ? [] : [{ address, family: 4 }];
      callback(address === undefined ? Object.assign(new Error('no'), { code: 'ENOTFOUND' }) : null, found);
    });
  };
  return { open, asked, lookup };
}

const never: NamesParts['dns'] = () => ({ resolve4: () => undefined, resolve6: () => undefined }) as never;

test('a hundred names that nobody answers for hold up no name that is answered, and take no thread', async () => {
  using server = await nameServer();
  const { lookup, asked } = system();
  const names = createNames({ clock: systemClock, dns: server.dns, system: lookup, hostsFile: '/none' });
  const dead = Array.from({ length: 100 }, (_, n) => find(names, `dead-${n}.example`));
  assert.deepEqual(await find(names, 'GOOD.example.'), ['192.0.2.7']);
  assert.equal(server.asked.filter(name => name === 'good.example').length, 2);
  assert.deepEqual([...new Set(await Promise.all(dead))], ['EAI_AGAIN']);
  assert.deepEqual(asked, []);
});

test('what name servers do not know is asked of the system, and what they say nothing about is not', async () => {
  using server = await nameServer();
  const { lookup, open } = system();
  const names = createNames({ clock: systemClock, dns: server.dns, system: lookup, hostsFile: '/none' });
  const hidden = find(names, 'no-dns.example');
  while (!open.has('no-dns.example')) {
    await systemClock.sleep(2);
  }
  open.get('no-dns.example')?.('10.0.0.1');
  assert.deepEqual(await hidden, ['10.0.0.1']);
  const printer = find(names, 'printer.local');
  const single = find(names, 'nas');
  open.get('nas')?.();
  open.get('printer.local')?.('169.254.1.1');
  assert.deepEqual([await printer, await single], [['169.254.1.1'], 'ENOTFOUND']);
});

test('the system is asked two names at a time and each once; one that hung before keeps nobody from the second place', async () => {
  const clock = new ManualClock();
  const { lookup, open, asked } = system();
  const names = createNames({ clock, dns: never, system: lookup, hostsFile: '/none' });
  const outcomes = ['a', 'a', 'b', 'c'].map(name => find(names, name));
  assert.deepEqual(asked, ['a', 'b']);
  await clock.advance(5000);
  assert.deepEqual(await Promise.all(outcomes), ['EAI_AGAIN', 'EAI_AGAIN', 'EAI_AGAIN', 'EAI_AGAIN']);
  for (const end of [...open.values()]) {
    end();
  }
  assert.deepEqual(asked, ['a', 'b'], 'nobody waits for the third any more');
  const again = ['a', 'b', 'good'].map(name => find(names, name));
  assert.deepEqual(asked.slice(2), ['a', 'good'], 'only one of those that hung is tried');
  open.get('good')?.('10.0.0.2');
  assert.deepEqual(await again[2], ['10.0.0.2']);
  open.get('a')?.('10.0.0.3');
  open.get('b')?.('10.0.0.4');
  assert.deepEqual(await Promise.all(again.slice(0, 2)), [['10.0.0.3'], ['10.0.0.4']]);
});

test('the hosts file comes first, and one that is missing or too long is left to the system', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'kos-names-'));
  try {
    const file = join(dir, 'hosts');
    await writeFile(
      file,
      '# x\n127.0.0.1 localhost\n10.1.2.3\tNas.example nas # home\nfe80::1 nas\nnonsense nas\n',
    );
    assert.deepEqual(addressesIn(file, 'nas'), [
      { address: '10.1.2.3', family: 4 },
      { address: 'fe80::1', family: 6 },
    ]);
    const names = createNames({ clock: new ManualClock(), dns: never, hostsFile: file });
    assert.deepEqual(await find(names, 'nas.example'), ['10.1.2.3']);
    await writeFile(file, `10.1.2.3 nas\n${'#'.repeat(300_000)}`);
    assert.deepEqual(addressesIn(file, 'nas'), []);
    assert.deepEqual(addressesIn(join(dir, 'none'), 'nas'), []);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});
