import type {
  AnnounceView,
  InterfaceView,
  LinkView,
  PathView,
  RateView,
  TransitView,
} from '../bridges/http/mesh.ts';
import { ask, type Call, type Command, print, printable, usage } from './call.ts';

/** What rnstatus and rnpath show, of this hub. */
export const meshCommands: readonly (readonly [string, Command])[] = [
  [
    'interfaces',
    { words: '', does: 'how the mesh is reached: state, traffic and airtime', run: showInterfaces },
  ],
  [
    'paths',
    { words: '[DEST] [--interface NAME] [--hops N]', does: 'the known ways, by destination', run: showPaths },
  ],
  ['links', { words: '[DEST] [--interface NAME]', does: 'the links that are open', run: showLinks }],
  [
    'path drop',
    {
      words: 'DEST | --via NODE',
      does: 'forget the way to a destination, or all over a node',
      run: dropPaths,
    },
  ],
  ['rates', { words: '[DEST]', does: 'how often destinations have announced themselves', run: showRates }],
  ['transit', { words: '[DEST]', does: 'links between others that go through this node', run: showTransit }],
  [
    'announces',
    {
      words: '[DEST] [--interface NAME] [--hops N] [--identity HASH] [--aspect NAME]',
      does: 'what each destination announced last',
      run: showAnnounces,
    },
  ],
];

function showRates(c: Call): Promise<number> {
  return show<RateView>(c, 'rates', 'nobody is watched', one => {
    const blocked = one.blockedUntil === undefined ? '' : `  not passed on until ${when(one.blockedUntil)}`;
    return `${one.destination}  heard ${when(one.heard)}  ${one.tooSoon} too soon${blocked}`;
  });
}

function showTransit(c: Call): Promise<number> {
  return show<TransitView>(c, 'transit', 'none goes through here', one => {
    const { id, destination, from, to, taken, remaining, proven } = one;
    return `${id}  to ${destination}  ${printable(from)} to ${printable(to)}  ${taken} hop(s) come, ${remaining} to go${proven ? '' : '  not proven yet'}`;
  });
}

async function dropPaths(c: Call): Promise<number> {
  const [destination] = c.words;
  const { via } = c.options;
  if ((destination === undefined) === (typeof via !== 'string')) {
    usage('path drop DEST | --via NODE');
  }
  const { body } = await (destination === undefined
    ? ask(c, 'DELETE', `/v1/mesh/paths?nextHop=${encodeURIComponent(via as string)}`)
    : ask(c, 'DELETE', `/v1/mesh/paths/${encodeURIComponent(destination)}`));
  const { dropped } = (body ?? { dropped: 1 }) as { dropped: number };
  return print(c, { dropped }, `${dropped} forgotten`);
}

function showInterfaces(c: Call): Promise<number> {
  return show<InterfaceView>(c, 'interfaces', 'none is configured', one => {
    const { name, kind, state, reason, bitrate, rx, tx, airtime, parent } = one;
    const used =
      airtime === undefined
        ? ''
        : `  airtime ${seconds(airtime.usedMs)} of ${seconds(airtime.budgetMs)}${airtime.until === undefined ? '' : `, messages wait until ${when(airtime.until)}`}`;
    const why = reason === undefined ? '' : `: ${printable(reason)}`;
    const indent = parent === undefined ? '' : '  ';
    return `${`${indent}${printable(name)}`.padEnd(28)}  ${kind.padEnd(11)}  ${rate(bitrate).padStart(11)}  in ${rx.packets} packets, ${rx.bytes} B  out ${tx.packets} packets, ${tx.bytes} B${used}  ${state}${why}`;
  });
}

function showPaths(c: Call): Promise<number> {
  return show<PathView>(c, 'paths', 'no way is known', one => {
    const { destination, hops, nextHop, heard } = one;
    const via = nextHop === destination ? 'a neighbour' : `via ${nextHop}`;
    return `${destination}  ${hops} hop(s)  ${via.padEnd(36)}  over ${printable(one.interface)}  heard ${when(heard)}`;
  });
}

function showLinks(c: Call): Promise<number> {
  return show<LinkView>(c, 'links', 'none is open', one => {
    const { id, destination, role, state, hops, rtt } = one;
    return `${id}  ${role.padEnd(9)}  ${destination}  ${state}  ${hops} hop(s)  ${rtt === 0 ? '' : `${Math.round(rtt)} ms`}  over ${printable(one.interface)}`;
  });
}

function showAnnounces(c: Call): Promise<number> {
  return show<AnnounceView>(c, 'announces', 'nothing was heard yet', one => {
    const { destination, identity, heard, hops } = one;
    const over = one.interface === undefined ? '' : `  over ${printable(one.interface)}`;
    const name = one.aspect === undefined ? '' : `  ${one.aspect}`;
    return `${destination}  identity ${identity}  ${hops ?? '?'} hop(s)${over}  heard ${when(heard)}${name}`;
  });
}

/** A whole list of the mesh, a line each. */
async function show<T>(c: Call, what: string, nothing: string, line: (one: T) => string): Promise<number> {
  const items: T[] = [];
  const [destination] = c.words;
  const given: Record<string, unknown> = {
    destination,
    interface: c.options.interface,
    maxHops: c.options.hops,
    identity: c.options.identity,
    aspect: c.options.aspect,
  };
  const wanted = Object.entries(given).filter(
    (pair): pair is [string, string] => typeof pair[1] === 'string',
  );
  let after: readonly [string, string][] = [];
  do {
    const query = `?${new URLSearchParams([...wanted, ['limit', '200'], ...after])}`;
    const { body } = await ask(c, 'GET', `/v1/mesh/${what}${query}`);
    const page = body as { items: T[]; cursor: string | null };
    items.push(...page.items);
    after = page.cursor === null ? [] : [['after', page.cursor]];
  } while (after.length > 0);
  return print(c, items, items.map(line).join('\n') || nothing);
}

function when(time: number): string {
  return new Date(time).toISOString().replace(/\.\d+Z$/, 'Z');
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

function rate(bitrate: number): string {
  const [unit, size] = bitrate >= 1e6 ? ['Mbit/s', 1e6] : bitrate >= 1e3 ? ['kbit/s', 1e3] : ['bit/s', 1];
  return `${Number((bitrate / (size as number)).toFixed(1))} ${unit}`;
}
