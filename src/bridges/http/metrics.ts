import type { Desk } from '../../gateway/desk.ts';
import type { MeshView } from './mesh.ts';
import { type Route, route } from './route.ts';

export interface MetricsParts {
  readonly desk: Desk;
  readonly counters: () => Readonly<Record<string, number>>;
  readonly mesh: MeshView;
}

interface Family {
  readonly name: string;
  readonly type: 'counter' | 'gauge';
  readonly help: string;
  readonly samples: readonly { readonly labels?: Readonly<Record<string, string>>; readonly value: number }[];
}

/**
 * Counters and health for Prometheus. Labels are names of parts, configured interfaces and counters: as many as
 * there is configuration and code, never as many as there are peers or messages.
 *
 * Source: Prometheus text exposition format 0.0.4.
 */
export function metricsRoutes(parts: MetricsParts): Route[] {
  return [
    route({
      method: 'GET',
      path: '/metrics',
      summary: 'Counters and health in the text format of Prometheus',
      tag: 'status',
      audience: ['metrics'],
      live: true,
      responses: { 200: { description: 'the values now', mediaType: 'text/plain' } },
      handle: () => ({
        status: 200,
        headers: { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' },
        body: families(parts).map(exposition).join(''),
      }),
    }),
  ];
}

function families({ desk, counters, mesh }: MetricsParts): Family[] {
  const { ready, services, queued } = desk.health();
  const { name, version, boot } = desk.hub;
  const memory = process.memoryUsage();
  const gauge = (metric: string, help: string, value: number): Family => ({
    name: metric,
    type: 'gauge',
    help,
    samples: [{ value }],
  });
  const interfaces = mesh.interfaces().filter(({ parent }) => parent === undefined);
  const carried = mesh.interfaces().reduce((sums, one) => {
    const root = one.parent ?? one.name;
    const sum = sums.getOrInsertComputed(root, () => ({ rx: 0, tx: 0 }));
    sum.rx += one.rx.bytes;
    sum.tx += one.tx.bytes;
    return sums;
  }, new Map<string, { rx: number; tx: number }>());
  const airtime = interfaces.flatMap(one =>
    one.airtime === undefined ? [] : [{ ...one.airtime, of: one.name }],
  );
  return [
    {
      name: 'kos_info',
      type: 'gauge',
      help: 'The hub.',
      samples: [{ labels: { name, version, hub: desk.hub.id }, value: 1 }],
    },
    gauge('kos_boot', 'Starts of this data directory.', boot),
    gauge('kos_ready', 'Whether every part that readiness asks for is up.', Number(ready)),
    {
      name: 'kos_service_up',
      type: 'gauge',
      help: 'Whether a part is up.',
      samples: services.map(one => ({ labels: { service: one.name }, value: Number(one.state === 'up') })),
    },
    {
      name: 'kos_service_bugs_total',
      type: 'counter',
      help: 'Failures of a part that nobody foresaw.',
      samples: services.map(one => ({ labels: { service: one.name }, value: one.bugs })),
    },
    gauge('kos_deliveries_waiting', 'Deliveries to far sides that are not at an end.', queued),
    {
      name: 'kos_events_total',
      type: 'counter',
      help: 'What happened, by the name of its counter; errors by their code.',
      samples: Object.entries(counters()).map(([event, value]) => ({ labels: { event }, value })),
    },
    {
      name: 'kos_interface_up',
      type: 'gauge',
      help: 'Whether an interface of the mesh is up.',
      samples: interfaces.map(one => ({
        labels: { interface: one.name },
        value: Number(one.state === 'up'),
      })),
    },
    {
      name: 'kos_interface_received_bytes_total',
      type: 'counter',
      help: 'Bytes of packets that came over an interface and the peers it has now.',
      samples: [...carried].map(([iface, { rx }]) => ({ labels: { interface: iface }, value: rx })),
    },
    {
      name: 'kos_interface_sent_bytes_total',
      type: 'counter',
      help: 'Bytes of packets that left over an interface and the peers it has now.',
      samples: [...carried].map(([iface, { tx }]) => ({ labels: { interface: iface }, value: tx })),
    },
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
    gauge('process_resident_memory_bytes', 'Resident memory.', memory.rss),
    gauge('nodejs_heap_used_bytes', 'Heap in use.', memory.heapUsed),
  ];
}

function exposition({ name, type, help, samples }: Family): string {
  const lines = samples.map(({ labels = {}, value }) => {
    const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(text)}"`);
    return `${name}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${value}\n`;
  });
  return lines.length === 0 ? '' : `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('')}`;
}

function escapeLabel(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
