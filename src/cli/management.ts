import type { DiscoveredView } from '../bridges/http/discovered.ts';
import type { PathView } from '../bridges/http/mesh.ts';
import type { BlackholeView, ProbeView } from '../bridges/http/mesh-management.ts';
import { ask, type Call, type Command, print, printable, usage } from './call.ts';
import { entriesOf } from './discovered-entries.ts';

/** What rnprobe and rnpath do, from this hub. */
export const managementCommands: readonly (readonly [string, Command])[] = [
  [
    'probe',
    {
      words: 'DEST [--node] [--count N] [--size BYTES]',
      does: 'whether a destination answers, and how far it is; with --node that of a node, by its identity',
      run: probe,
    },
  ],
  ['path', { words: 'DEST', does: 'ask the mesh for the way to a destination', run: requestPath }],
  [
    'blackhole list',
    { words: '', does: 'identities whose announces are neither learnt nor passed on', run: listBlackhole },
  ],
  [
    'blackhole add',
    {
      words: 'IDENTITY [--expires ISO-DATE] [--reason TEXT]',
      does: 'leave an identity out from now on',
      run: addBlackhole,
    },
  ],
  [
    'blackhole remove',
    { words: 'IDENTITY', does: 'hear an identity again, whoever listed it', run: removeBlackhole },
  ],
  [
    'discovered',
    {
      words: '[--entries]',
      does: 'interfaces that other nodes have announced, the likeliest first; with --entries what to configure for them, here and in the reference',
      run: listDiscovered,
    },
  ],
];

async function probe(c: Call): Promise<number> {
  const [word] = c.words;
  const hash = word?.replace(/^lxmf:/, '');
  if (hash === undefined || c.words.length !== 1) {
    usage('probe DEST [--node] [--count N] [--size BYTES]');
  }
  const { body } = await ask(c, 'POST', '/v1/mesh/probe', {
    ...(c.options.node === true ? { node: hash } : { destination: hash }),
    ...numberOf(c, 'count'),
    ...numberOf(c, 'size'),
  });
  const view = body as ProbeView;
  const lines = view.probes.map((one, at) => {
    const heard = [
      ...(one.rssi === undefined ? [] : [`RSSI ${one.rssi} dBm`]),
      ...(one.snr === undefined ? [] : [`SNR ${one.snr} dB`]),
    ];
    const what = one.rtt === undefined ? `no answer: ${one.code}` : `${one.rtt} ms`;
    return `${String(at + 1).padStart(3)}  ${[what, ...heard].join('  ')}`;
  });
  const { destination, hops, sent, received, lossPercent, rtt } = view;
  const times = rtt === undefined ? '' : `, ${rtt.min} / ${rtt.avg} / ${rtt.max} ms`;
  await print(
    c,
    view,
    [
      `${destination}  ${hops} hop(s)  over ${printable(view.interface)}`,
      ...lines,
      `${received} of ${sent} answered, ${lossPercent} % lost${times}`,
    ].join('\n'),
  );
  return received > 0 ? 0 : 1;
}

async function requestPath(c: Call): Promise<number> {
  const destination = c.words[0]?.replace(/^lxmf:/, '');
  if (destination === undefined || c.words.length !== 1) {
    usage('path DEST');
  }
  const { body } = await ask(c, 'POST', '/v1/mesh/path-request', { destination });
  const path = body as PathView;
  const via = path.nextHop === path.destination ? 'a neighbour' : `via ${path.nextHop}`;
  return print(
    c,
    path,
    `${path.destination}  ${path.hops} hop(s)  ${via}  over ${printable(path.interface)}`,
  );
}

async function listBlackhole(c: Call): Promise<number> {
  const { body } = await ask(c, 'GET', '/v1/mesh/blackhole');
  const { items } = body as { items: BlackholeView[] };
  const lines = items.map(({ identity, from, source, until, reason }) => {
    const when = until === undefined ? 'for good' : `until ${new Date(until).toISOString()}`;
    const who = source === undefined ? `by the ${from}` : `by ${source}`;
    return `${identity}  ${when}  ${who}${reason === undefined ? '' : `  ${printable(reason)}`}`;
  });
  return print(c, items, lines.join('\n') || 'nobody is left out');
}

async function addBlackhole(c: Call): Promise<number> {
  const [identity] = c.words;
  const { expires, reason } = c.options;
  const until = typeof expires === 'string' ? Date.parse(expires) : undefined;
  if (identity === undefined || c.words.length !== 1 || Number.isNaN(until)) {
    usage('blackhole add IDENTITY [--expires ISO-DATE] [--reason TEXT]');
  }
  const { status, body } = await ask(c, 'POST', '/v1/mesh/blackhole', {
    identity,
    ...(until !== undefined && { until }),
    ...(typeof reason === 'string' && { reason }),
  });
  return print(c, body, status === 201 ? `${identity} is left out from now on` : `${identity} is changed`);
}

async function removeBlackhole(c: Call): Promise<number> {
  const [identity] = c.words;
  if (identity === undefined || c.words.length !== 1) {
    usage('blackhole remove IDENTITY');
  }
  await ask(c, 'DELETE', `/v1/mesh/blackhole/${encodeURIComponent(identity)}`);
  return print(c, { identity }, `${identity} is heard again`);
}

async function listDiscovered(c: Call): Promise<number> {
  const { body } = await ask(c, 'GET', '/v1/mesh/discovered');
  const { items } = body as { items: DiscoveredView[] };
  if (c.options.entries === true) {
    return print(c, items, items.map(entriesOf).join('\n\n') || 'nothing was announced yet');
  }
  const lines = items.map(one => {
    const { name, type, status, reachableOn, port, frequency, hops, heard, implementation, version } = one;
    const suffix = port === undefined ? '' : `:${port}`;
    const where = reachableOn !== undefined ? `${reachableOn}${suffix}` : `${(frequency ?? 0) / 1e6} MHz`;
    const runs = printable(`${implementation ?? 'unknown'} ${version ?? ''}`.trim());
    const used = one.interface === undefined ? '' : `  connected as ${one.interface}`;
    return `${printable(name).padEnd(24)}  ${type.replace('Interface', '').padEnd(10)}  ${printable(where).padEnd(28)}  ${status.padEnd(9)}  ${hops} hop(s)  ${runs}  heard ${new Date(heard).toISOString()}${used}`;
  });
  return print(c, items, lines.join('\n') || 'nothing was announced yet');
}

function numberOf(c: Call, name: string): Readonly<Record<string, number>> {
  const given = c.options[name];
  return typeof given === 'string' ? { [name]: Number(given) } : {};
}
