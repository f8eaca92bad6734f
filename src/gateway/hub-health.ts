import type { ServiceHealth } from '../lib/service.ts';
import type { Bridge } from './bridge.ts';
import type { GatewayEvent, Health } from './desk.ts';
import type { Store } from './store/store.ts';

type HealthKind = 'interface.changed' | 'health.changed';

/** How the hub and each of its parts are. */
export interface HubHealth {
  now(): Health;
  /** The health of a part; a change of it is told as an event. */
  report(service: ServiceHealth, kind?: HealthKind): void;
  /** A part is none of the hub any more. */
  forget(name: string): void;
  onChange(listener: (health: Health) => void): () => void;
}

export interface HubHealthParts {
  readonly store: Pick<Store, 'onDamage'>;
  readonly bridges: readonly Bridge[];
  /** Deliveries not over. */
  readonly queued: () => number;
  readonly tell: (kind: HealthKind, members: Partial<GatewayEvent>) => void;
}

export function createHubHealth({ store, bridges, queued, tell }: HubHealthParts): HubHealth {
  const services = new Map<string, ServiceHealth>();
  const listeners = new Set<(health: Health) => void>();
  /** The database of messages: of what it gives, nobody can say what is missing. */
  let damaged = false;
  store.onDamage(file => {
    damaged ||= file === 'gateway.db';
  });

  function now(): Health {
    const down = [...services.values()].filter(service => service.state !== 'up');
    return {
      ready:
        (services.get('store')?.state ?? 'up') === 'up' &&
        services.get('disk')?.code === undefined &&
        damaged === false &&
        bridges.every(works),
      services: [...services.values()],
      queued: queued(),
      failures: down.map(({ name, reason, state, since }) => ({ name, reason: reason ?? state, since })),
    };
  }

  function works({ name, isRemote }: Bridge): boolean {
    const { state, code } = services.get(name) ?? {};
    return state === 'up' || (isRemote === true && state === 'waiting' && code === 'bridge/unavailable');
  }

  function changed(): void {
    for (const listener of [...listeners]) {
      listener(now());
    }
  }

  return {
    now,
    report(service, kind = 'health.changed') {
      const before = services.get(service.name);
      services.set(service.name, service);
      if (before?.state !== service.state || before.reason !== service.reason) {
        tell(kind, kind === 'interface.changed' ? { interface: service } : { health: now() });
        changed();
      }
    },
    forget(name) {
      if (services.delete(name)) {
        changed();
      }
    },
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
