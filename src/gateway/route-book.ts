import { createHash } from 'node:crypto';
import { canonicalJson } from '../lib/canonical-json.ts';
import type { Clock } from '../lib/clock.ts';
import { GatewayError } from '../lib/errors.ts';
import type { Random } from '../lib/random.ts';
import { createTurns } from '../lib/turns.ts';
import type { RouteRule } from './route-rule.ts';
import type { Routes } from './routes.ts';
import type { Guard, RouteView } from './society-contract.ts';
import type { Store } from './store/store.ts';

/** The rules in force: those of the configuration, which can be switched off here, and those made here. */
export interface RouteBook {
  list(): readonly RouteView[];
  get(id: string): RouteView | undefined;
  /**
   * Makes a rule, or makes of it what `next` says; without an id it gets one. Durable when it resolves. Throws
   * `request/conflict` for one of the configuration, of which only `enabled` changes, `store/full`, `store/unavailable`.
   */
  put(id: string | undefined, next: (before: RouteView | undefined) => RouteRule): Promise<RouteView>;
  /** `request/not-found`, `request/conflict` for one of the configuration. */
  remove(id: string, guard?: Guard<RouteView>): Promise<void>;
  /** The configuration is another one. */
  adopt(configured: readonly RouteRule[]): Promise<void>;
}

type Identified = RouteRule & { readonly id: string };

export function createRouteBook(parts: {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly routes: Routes;
  readonly configured: readonly RouteRule[];
  /** Rules there may be. */
  readonly limit: number;
  /** Other rules are in force. */
  readonly onChange: () => void;
}): RouteBook {
  const { store, clock, random, routes } = parts;
  let configured = identified(parts.configured);
  const made = new Map<string, Identified>();
  /** Rules of the configuration that were switched off or on here. */
  const switched = new Map<string, boolean>();
  const inTurn = createTurns();
  for (const { id, body } of store.read.routeRows()) {
    if ('from' in body) {
      made.set(id, { ...body, id });
    } else {
      switched.set(id, body.enabled);
    }
  }

  const inOrder = () => {
    const own = configured.map(rule => ({
      ...rule,
      ...(switched.has(rule.id) ? { enabled: switched.get(rule.id)! } : {}),
    }));
    const names = new Set(own.map(({ id }) => id));
    const others = [...made.values()].filter(({ id }) => !names.has(id));
    return [...own, ...others].sort((a, b) => (a.order ?? 0) - (b.order ?? 0));
  };

  function lay(): void {
    routes.replace(inOrder());
    parts.onChange();
  }

  lay();

  const isConfigured = (id: string) => configured.some(rule => rule.id === id);

  function viewOf(rule: Identified, counts = routes.counts()): RouteView {
    const { passed, leftOut } = counts.get(rule.id) ?? { passed: 0, leftOut: 0 };
    return {
      ...rule,
      enabled: rule.enabled !== false,
      source: isConfigured(rule.id) ? 'config' : 'api',
      passed,
      leftOut,
    };
  }

  const get = (id: string) => {
    const rule = inOrder().find(one => one.id === id);
    return rule && viewOf(rule);
  };

  async function write(id: string, body: RouteRule | { readonly enabled: boolean } | null): Promise<void> {
    const route = body === null ? { id, gone: true } : { id, ...body };
    await store.committer.commit('routes.put', {
      routes: [{ id, body }],
      events: [{ at: clock.now(), kind: 'route.changed', body: JSON.stringify({ route }), audience: [] }],
    });
  }

  return {
    list() {
      const counts = routes.counts();
      return inOrder().map(rule => viewOf(rule, counts));
    },
    get,
    put: (given, next) =>
      inTurn(async () => {
        const id = given ?? `r-${random.bytes(6).toHex()}`;
        const rule = next(get(id));
        if (isConfigured(id)) {
          const before = configured.find(one => one.id === id)!;
          const { enabled = true, ...wanted } = { ...rule, id };
          const { enabled: _, ...own } = before;
          if (canonicalJson(wanted) !== canonicalJson(own)) {
            throw new GatewayError(
              'request/conflict',
              'a rule of the configuration is changed there; here it is only switched off and on, by enabled',
            );
          }
          await write(id, { enabled });
          switched.set(id, enabled);
        } else {
          if (!made.has(id) && made.size + configured.length >= parts.limit) {
            throw new GatewayError('store/full', `${parts.limit} rules at most`);
          }
          await write(id, { ...rule, id });
          made.set(id, { ...rule, id });
        }
        lay();
        return get(id)!;
      }),
    remove: (id, guard) =>
      inTurn(async () => {
        if (isConfigured(id)) {
          throw new GatewayError(
            'request/conflict',
            'the configuration names this rule; switch it off with {"enabled": false}',
          );
        }
        if (!made.has(id)) {
          throw new GatewayError('request/not-found', `there is no rule ${id}`);
        }
        guard?.(get(id));
        await write(id, null);
        made.delete(id);
        lay();
      }),
    adopt: wanted =>
      inTurn(async () => {
        configured = identified(wanted);
        const gone = [...switched.keys()].filter(id => !isConfigured(id));
        for (const id of gone) {
          switched.delete(id);
        }
        lay();
        if (gone.length > 0) {
          await store.committer.commit('routes.put', {
            routes: gone.map(id => ({ id, body: null })),
            events: [],
          });
        }
      }),
  };
}

/** Rules with ids: one that has none gets it from what it says, so that another rule has another. */
function identified(rules: readonly RouteRule[]): readonly Identified[] {
  const used = new Set(rules.flatMap(({ id }) => id ?? []));
  return rules.map(rule => {
    if (rule.id !== undefined) {
      return { ...rule, id: rule.id };
    }
    const digest = createHash('sha256').update(canonicalJson(rule)).digest('hex').slice(0, 12);
    let id = `c-${digest}`;
    for (let turn = 2; used.has(id); turn++) {
      id = `c-${digest}-${turn}`;
    }
    used.add(id);
    return { ...rule, id };
  });
}
