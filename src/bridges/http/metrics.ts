import type { Desk } from '../../gateway/desk.ts';
import type { MeshView } from './mesh.ts';
import { meshFamilies } from './mesh-metrics.ts';
import { type Route, route } from './route.ts';

export interface MetricsParts {
  readonly desk: Desk;
  readonly counters: () => Readonly<Record<string, number>>;
  readonly mesh: MeshView;
}

/** Samples of one name. */
export interface Family {
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
  const counts = counters();
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
      samples: Object.entries(counts).map(([event, value]) => ({ labels: { event }, value })),
    },
    ...meshFamilies(mesh, counts),
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
