import { dropCodes } from './drops.ts';
import type { InterfaceView, MeshView } from './mesh.ts';
import type { Family } from './metrics.ts';

/**
 * How the mesh is doing. Labels are names of configured interfaces, of tables, states and codes: peers come and go, and
 * are counted with the interface that found them.
 */
export function meshFamilies(mesh: MeshView, counts: Readonly<Record<string, number>>): Family[] {
  const interfaces = mesh.interfaces().filter(({ parent }) => parent === undefined);
  const perInterface = (
    metric: string,
    type: Family['type'],
    help: string,
    read: (one: InterfaceView, carried: Pick<InterfaceView, 'rx' | 'tx'>) => number | undefined,
  ): Family => ({
    name: `kos_interface_${metric}`,
    type,
    help,
    samples: interfaces.flatMap(one => {
      const value = read(one, one.total ?? one);
      return value === undefined ? [] : [{ labels: { interface: one.name }, value }];
    }),
  });
  const byName = (name: string, label: string, help: string, values: Iterable<[string, number]>): Family => ({
    name,
    type: 'gauge',
    help,
    samples: [...values].map(([key, value]) => ({ labels: { [label]: key }, value })),
  });
  const airtime = interfaces.flatMap(one =>
    one.airtime === undefined ? [] : [{ ...one.airtime, of: one.name }],
  );
  return [
    {
      name: 'kos_interface_up',
      type: 'gauge',
      help: 'Whether an interface of the mesh is up.',
      samples: interfaces.map(one => ({
        labels: { interface: one.name },
        value: Number(one.state === 'up'),
      })),
    },
    perInterface(
      'received_bytes_total',
      'counter',
      'Bytes of packets that came over an interface and its peers.',
      (_, { rx }) => rx.bytes,
    ),
    perInterface(
      'sent_bytes_total',
      'counter',
      'Bytes of packets that left over an interface and its peers.',
      (_, { tx }) => tx.bytes,
    ),
    perInterface('received_packets_total', 'counter', 'Packets that came.', (_, { rx }) => rx.packets),
    perInterface('sent_packets_total', 'counter', 'Packets that left.', (_, { tx }) => tx.packets),
    perInterface(
      'send_failures_total',
      'counter',
      'Packets the medium did not take.',
      (_, { tx }) => tx.failed ?? 0,
    ),
    perInterface(
      'received_announces_total',
      'counter',
      'Announces that came.',
      (_, { rx }) => rx.announces ?? 0,
    ),
    perInterface('sent_announces_total', 'counter', 'Announces that left.', (_, { tx }) => tx.announces ?? 0),
    perInterface(
      'received_path_requests_total',
      'counter',
      'Path requests that came.',
      (_, { rx }) => rx.pathRequests ?? 0,
    ),
    perInterface(
      'sent_path_requests_total',
      'counter',
      'Path requests that left.',
      (_, { tx }) => tx.pathRequests ?? 0,
    ),
    perInterface(
      'refused_packets_total',
      'counter',
      'Packets without the access code of the network.',
      (_, { rx }) => rx.refused ?? 0,
    ),
    perInterface('peers', 'gauge', 'Peers an interface has found and has now.', ({ peers }) => peers),
    perInterface('queue_bytes', 'gauge', 'Bytes of others that wait to leave.', ({ queue }) => queue?.bytes),
    perInterface(
      'announces_waiting',
      'gauge',
      'Announces of others that wait to leave.',
      ({ queue }) => queue?.announces,
    ),
    perInterface(
      'announces_held',
      'gauge',
      'New announces held back because too many came.',
      ({ queue }) => queue?.held,
    ),
    perInterface('bitrate', 'gauge', 'Estimated bit/s.', ({ bitrate }) => bitrate),
    {
      name: 'kos_drops_total',
      type: 'counter',
      help: 'Packets of the mesh that were not taken or not sent, by why.',
      samples: dropCodes.map(code => ({ labels: { code }, value: counts[code] ?? 0 })),
    },
    byName(
      'kos_paths',
      'interface',
      'Known ways, by the interface they lead over.',
      pathsOf(mesh, interfaces),
    ),
    byName('kos_links', 'state', 'Links of the hub, by state.', mesh.linkCounts()),
    byName(
      'kos_table_entries',
      'table',
      'How full the tables of the node are.',
      Object.entries(mesh.sizes()),
    ),
    {
      name: 'kos_airtime_used_seconds',
      type: 'gauge',
      help: 'Airtime of the last hour.',
      samples: airtime.map(one => ({ labels: { interface: one.of }, value: one.usedMs / 1000 })),
    },
    {
      name: 'kos_airtime_budget_seconds',
      type: 'gauge',
      help: 'Airtime an hour that the region allows.',
      samples: airtime.map(one => ({ labels: { interface: one.of }, value: one.budgetMs / 1000 })),
    },
  ];
}

/** Only of interfaces that are shown: what paths were remembered over is not a label for ever. */
function pathsOf(mesh: MeshView, interfaces: readonly InterfaceView[]): [string, number][] {
  const counts = mesh.pathCounts();
  return interfaces.map(({ name }) => [name, counts.get(name) ?? 0]);
}
