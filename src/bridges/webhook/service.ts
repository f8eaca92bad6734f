import type { Client, Desk } from '../../gateway/desk.ts';
import type { WebhookShelf } from '../../gateway/webhook-shelf.ts';
import type { WebhookDesk } from '../../gateway/webhooks.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Lookup } from '../../lib/names.ts';
import type { Random } from '../../lib/random.ts';
import { type ServiceHealth, supervise } from '../../lib/service.ts';
import type { Addressees } from './bridge.ts';
import { type WebhookConfig, type WebhookLimits, webhookLimits } from './config.ts';
import { deliverTo } from './deliver.ts';
import { createWebhookDesk } from './desk.ts';
import { createGuard, type Guard } from './guard.ts';
import { createKeeper, type Hook, hookOf, isOn, moveTimes, restart } from './hook.ts';
import { awayOf, runLine } from './line.ts';
import type { Payload } from './payload.ts';
import { createPoster, type Poster, type Reply } from './post.ts';
import { isTaken } from './progress.ts';
import { signedHeaders } from './signature.ts';
import { createSlots } from './slots.ts';

export interface WebhookParts {
  readonly desk: Desk;
  readonly shelf: WebhookShelf;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly counters: Counters;
  readonly config: WebhookConfig;
  /** Authorities, in PEM, instead of the system's. */
  readonly ca?: readonly string[];
  /** The client with an id, while its token is good. */
  readonly clientOf: (id: string) => Client | undefined;
  readonly report: (health: ServiceHealth) => void;
  readonly forget: (name: string) => void;
  /** What waits in the outbox for a webhook is worth a try. */
  readonly onReachable: (id: string) => void;
  /** How names are looked up. */
  readonly lookup: Lookup;
  readonly limits?: Partial<WebhookLimits>;
}

/** Every webhook of the hub, at work from the moment it is opened. */
export interface Webhooks extends Addressees, AsyncDisposable {
  readonly desk: WebhookDesk;
  /** Other networks may be called from now on, or others believed. */
  adopt(config: WebhookConfig, ca?: readonly string[]): void;
  /** The machine's clock was set, by so many ms. */
  moveTimes(by: number): void;
}

/** Opens what the shelf holds. Webhooks of clients that are no more are forgotten. */
export function openWebhooks(parts: WebhookParts): Webhooks {
  const { desk, shelf, clock, random, log, counters } = parts;
  const limits: WebhookLimits = { ...webhookLimits, ...parts.limits };
  const hooks = new Map<string, Hook>();
  const ends = new Map<string, AbortController>();
  const running = new Set<Promise<void>>();
  const slots = createSlots(limits);
  const keeper = createKeeper({ shelf, log });
  const told = new Map<string, string>();
  const stop = new AbortController();
  let config = parts.config;
  let guard: Guard;
  let poster: Poster;

  function adopt(wanted: WebhookConfig, ca: readonly string[] | undefined): void {
    config = wanted;
    guard = createGuard({
      clock,
      lookup: parts.lookup,
      allowPrivate: wanted.allowPrivate,
      patience: limits.lookup,
    });
    poster = createPoster({ clock, guard, limits, ...(ca !== undefined && { ca }) });
  }

  /** One request in its turn, signed now. */
  function send(hook: Hook, payload: Payload, signal: AbortSignal): Promise<Reply> {
    return hook.sends(() => request(hook, payload, signal), signal);
  }

  async function request(hook: Hook, payload: Payload, signal: AbortSignal): Promise<Reply> {
    const reply = await attempt(hook, payload, signal);
    const through = isTaken(reply);
    if (through && hook.doubtful) {
      parts.onReachable(hook.id);
    }
    hook.doubtful = !through || reply.duration > limits.slow;
    hook.proven = through;
    counters.add(through ? `webhook/${reply.state}` : `webhook/failure/${reply.code}`);
    return reply;
  }

  async function attempt(hook: Hook, payload: Payload, signal: AbortSignal): Promise<Reply> {
    const url = new URL(hook.settings.url);
    // Of whom nothing was heard the name may lead nowhere: nobody's place is taken while that is found out.
    const found = hook.proven ? undefined : await poster.find(url);
    signal.throwIfAborted();
    if (found !== undefined && 'reply' in found) {
      return found.reply;
    }
    const leave = await slots.take({ client: hook.client, doubtful: hook.doubtful }, signal);
    hook.sending = true;
    try {
      const { id, body } = payload;
      const headers = {
        'user-agent': `kos-gateway/${desk.hub.version}`,
        ...signedHeaders(hook.secrets, id, body, clock.now()),
      };
      return await poster.post(url, headers, body, signal, found?.addresses);
    } finally {
      hook.sending = false;
      leave();
    }
  }

  /** Says in the health of the hub what has been wrong for long, without saying where anything is. */
  function onProgress(hook: Hook): void {
    const { ended, failingSince, lastFailure } = hook.progress;
    const name = `webhook:${hook.id.slice(0, 8)}`;
    const failing = failingSince !== undefined && clock.now() - failingSince >= limits.notable;
    const why = ended
      ? 'disabled by the hub; GET /v1/webhooks says why'
      : failing
        ? `nothing gets through (${lastFailure?.code})`
        : undefined;
    // Whoever has switched it off knows of it.
    const reason = hook.settings.enabled ? why : undefined;
    if (told.get(name) === reason) {
      return;
    }
    const since = clock.now();
    if (ended && reason !== undefined) {
      counters.add('webhook/disabled');
      log.warn({ webhook: hook.id.slice(0, 8), code: lastFailure?.code }, 'a webhook was disabled');
    }
    if (reason === undefined) {
      told.delete(name);
      parts.report({ name, state: 'up', since, bugs: 0 });
      parts.forget(name);
    } else {
      told.set(name, reason);
      parts.report({ name, state: ended ? 'stopped' : 'waiting', since, reason, bugs: 0 });
    }
  }

  function begin(hook: Hook): void {
    hooks.set(hook.id, hook);
    const end = new AbortController();
    ends.set(hook.id, end);
    const signal = AbortSignal.any([stop.signal, end.signal]);
    const line = {
      desk,
      shelf,
      keeper,
      clock,
      random,
      log,
      counters,
      limits,
      clientOf: parts.clientOf,
      send,
      patience: () => config.disableAfter * 86_400_000,
      onProgress,
    };
    const work = supervise(
      {
        name: `webhook:${hook.id.slice(0, 8)}`,
        async run(ready, stopped) {
          ready();
          while (!stopped.aborted) {
            const { signal: life } = hook.changed;
            const either = AbortSignal.any([stopped, life]);
            if (isOn(hook)) {
              await runLine(hook, line, either).catch(error => {
                if (!either.aborted) {
                  throw error;
                }
              });
            }
            if (!either.aborted && !isOn(hook)) {
              await new Promise(resolve => either.addEventListener('abort', resolve, { once: true }));
            }
          }
        },
      },
      { clock, random, log, signal },
    );
    running.add(work);
    void work.finally(() => running.delete(work));
    onProgress(hook);
  }

  function drop(hook: Hook): void {
    hooks.delete(hook.id);
    ends.get(hook.id)?.abort(new DOMException('the webhook is gone', 'AbortError'));
    ends.delete(hook.id);
    const name = `webhook:${hook.id.slice(0, 8)}`;
    if (told.delete(name)) {
      parts.forget(name);
    }
    parts.onReachable(hook.id);
  }

  adopt(config, parts.ca);
  const { orphans = [], kept = [] } = Object.groupBy(shelf.rows(), ({ client }) => {
    const owner = desk.clients.find(client);
    return owner === undefined || owner.revokedAt !== undefined ? 'orphans' : 'kept';
  });
  if (orphans.length > 0) {
    shelf.remove(orphans.map(({ id }) => id)).catch(() => undefined);
  }
  for (const row of kept) {
    begin(hookOf(row));
  }
  const unwatch = desk.clients.onRevoked(client => {
    const gone = [...hooks.values()].filter(hook => hook.client === client.id);
    gone.forEach(drop);
    if (gone.length > 0) {
      // What stays behind because the disk is full is forgotten at the next start.
      shelf.remove(gone.map(({ id }) => id)).catch(() => undefined);
    }
  });

  const set = { hooks, keeper, guard: () => guard, begin, drop, send, onProgress, stopping: stop.signal };
  const delivering = { hub: desk.hub, clock, keeper, limits, send, onProgress };
  return {
    desk: createWebhookDesk({ ...set, ...parts, limits }),
    has: id => hooks.has(id),
    async deliver(id, delivery, signal) {
      const hook = hooks.get(id);
      const away = hook && awayOf(parts.clientOf(hook.client));
      if (away !== undefined) {
        throw new GatewayError('bridge/unavailable', away, { retryable: true });
      }
      return await deliverTo(hook, delivery, delivering, signal);
    },
    adopt(wanted, ca) {
      const before = poster;
      adopt(wanted, ca);
      before[Symbol.dispose]();
      for (const hook of hooks.values()) {
        if (isOn(hook)) {
          restart(hook, 'the configuration was read again');
          parts.onReachable(hook.id);
        }
      }
    },
    moveTimes(by) {
      for (const hook of hooks.values()) {
        moveTimes(hook, by);
      }
    },
    async [Symbol.asyncDispose]() {
      unwatch();
      stop.abort(new DOMException('the gateway is stopping', 'AbortError'));
      await Promise.all(running);
      for (const hook of hooks.values()) {
        keeper.note(hook);
      }
      await keeper.settle();
      poster[Symbol.dispose]();
    },
  };
}
