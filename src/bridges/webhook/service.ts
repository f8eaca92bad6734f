import { lookup as systemLookup } from 'node:dns';
import type { Client, Desk } from '../../gateway/desk.ts';
import type { WebhookShelf } from '../../gateway/webhook-shelf.ts';
import type { WebhookDesk, WebhookPatch, WebhookSettings, WebhookView } from '../../gateway/webhooks.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Random } from '../../lib/random.ts';
import { type ServiceHealth, supervise } from '../../lib/service.ts';
import { type WebhookConfig, type WebhookLimits, webhookLimits } from './config.ts';
import { createGuard, endpointUrl, type Guard, type Lookup } from './guard.ts';
import { createKeeper, type Hook, hookOf, isOn, restart, rowOf, viewOf } from './hook.ts';
import { runLine } from './line.ts';
import { fewAtOnce } from './names.ts';
import { type Payload, testPayload } from './payload.ts';
import { createPoster, type Poster, type Reply } from './post.ts';
import { attemptOf, forgiven, fresh } from './progress.ts';
import { keyOf, mintSecret, signedHeaders } from './signature.ts';
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
  /** How names are looked up; the system's way without it. */
  readonly lookup?: Lookup;
  readonly limits?: Partial<WebhookLimits>;
}

/** Every webhook of the hub, at work from the moment it is opened. */
export interface Webhooks extends AsyncDisposable {
  readonly desk: WebhookDesk;
  /** Other networks may be called from now on, or others believed. */
  adopt(config: WebhookConfig, ca?: readonly string[]): void;
}

type Member = { -readonly [K in keyof WebhookSettings]?: WebhookSettings[K] };

/** Opens what the shelf holds. Webhooks of clients that are no more are forgotten. */
export function openWebhooks(parts: WebhookParts): Webhooks {
  const { desk, shelf, clock, random, log, counters } = parts;
  const limits: WebhookLimits = { ...webhookLimits, ...parts.limits };
  const lookup = fewAtOnce(
    parts.lookup ?? ((hostname, callback) => systemLookup(hostname, { all: true }, callback)),
    limits.lookups,
  );
  const hooks = new Map<string, Hook>();
  const ends = new Map<string, AbortController>();
  const running = new Set<Promise<void>>();
  const slots = createSlots(limits);
  const keeper = createKeeper({ shelf, log });
  const testing = new Set<string>();
  const told = new Map<string, string>();
  /** Clients whose webhooks are being made: they count already. */
  const making: string[] = [];
  const stop = new AbortController();
  let config = parts.config;
  let guard: Guard;
  let poster: Poster;

  function adopt(wanted: WebhookConfig, ca: readonly string[] | undefined): void {
    config = wanted;
    guard = createGuard({ clock, lookup, allowPrivate: wanted.allowPrivate, patience: limits.lookup });
    poster = createPoster({ clock, guard, limits, ...(ca !== undefined && { ca }) });
  }

  /** One request in its turn, signed now. */
  async function send(hook: Hook, payload: Payload, signal: AbortSignal): Promise<Reply> {
    const leave = await slots.take({ client: hook.client, doubtful: hook.doubtful }, signal);
    hook.sending = true;
    try {
      const { id, body } = payload;
      const headers = {
        'user-agent': `kos-gateway/${desk.hub.version}`,
        ...signedHeaders(hook.secrets, id, body, clock.now()),
      };
      const reply = await poster.post(new URL(hook.settings.url), headers, body, signal);
      const through = reply.state === 'delivered' || reply.state === 'sent';
      hook.doubtful = !through || reply.duration > limits.slow;
      counters.add(through ? `webhook/${reply.state}` : `webhook/failure/${reply.code}`);
      return reply;
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
    const reason = ended
      ? 'disabled by the hub; GET /v1/webhooks says why'
      : failing && hook.settings.enabled
        ? `nothing gets through (${lastFailure?.code})`
        : undefined;
    if (told.get(name) === reason) {
      return;
    }
    const since = clock.now();
    if (ended) {
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
  }

  const owners = () => new Map(desk.clients.list().map(one => [one.id, one] as const));

  function find(client: Client, id: string): Hook {
    const hook = hooks.get(id);
    if (hook === undefined || !mayTouch(client, hook)) {
      throw new GatewayError('request/not-found', 'no such webhook');
    }
    return hook;
  }

  function view(hook: Hook, names = owners()): WebhookView {
    const client = names.get(hook.client) ?? { name: hook.client };
    return viewOf(hook, client, shelf.behind(hook.position), clock.now());
  }

  function secretOf(given: string | undefined): string {
    if (given !== undefined && keyOf(given) === undefined) {
      throw invalid('/secret', 'whsec_ and base64 of 24 to 64 bytes');
    }
    return given ?? mintSecret(random);
  }

  adopt(config, parts.ca);
  const known = owners();
  const rows = shelf.rows();
  const orphans = rows.filter(
    ({ client }) => known.get(client)?.revokedAt !== undefined || !known.has(client),
  );
  if (orphans.length > 0) {
    shelf.remove(orphans.map(({ id }) => id)).catch(() => undefined);
  }
  for (const row of rows) {
    if (!orphans.includes(row)) {
      begin(hookOf(row));
    }
  }
  const unwatch = desk.clients.onRevoked(client => {
    const gone = [...hooks.values()].filter(hook => hook.client === client.id);
    gone.forEach(drop);
    if (gone.length > 0) {
      // What stays behind because the disk is full is forgotten at the next start.
      shelf.remove(gone.map(({ id }) => id)).catch(() => undefined);
    }
  });

  return {
    desk: {
      async create(client, { secret: given, ...draft }) {
        const url = endpointUrl(draft.url);
        const secret = secretOf(given);
        const all = [...[...hooks.values()].map(hook => hook.client), ...making];
        const most =
          all.filter(one => one === client.id).length >= limits.perClient
            ? `${limits.perClient} webhooks of a client`
            : all.length >= limits.perHub
              ? `${limits.perHub} webhooks`
              : undefined;
        if (most !== undefined) {
          throw new GatewayError('request/conflict', `at most ${most}: delete one first`);
        }
        making.push(client.id);
        try {
          await guard.check(url);
          const createdAt = clock.now();
          const hook: Hook = {
            id: random.bytes(16).toHex(),
            client: client.id,
            createdAt,
            settings: { enabled: true, acknowledge: false, ...draft, url: url.href },
            secrets: [{ text: secret, createdAt }],
            position: desk.events.cursor,
            progress: fresh,
            sending: false,
            doubtful: false,
            changed: new AbortController(),
            paused: undefined,
          };
          await shelf.put(rowOf(hook));
          begin(hook);
          return { webhook: view(hook), secret };
        } finally {
          making.splice(making.indexOf(client.id), 1);
        }
      },
      list(client) {
        const names = owners();
        return [...hooks.values()].filter(hook => mayTouch(client, hook)).map(hook => view(hook, names));
      },
      get: (client, id) => view(find(client, id)),
      async change(client, id, patch) {
        const hook = find(client, id);
        const url = typeof patch.url === 'string' ? endpointUrl(patch.url) : undefined;
        if (url !== undefined) {
          await guard.check(url);
        }
        const settings = patched(hook.settings, { ...patch, ...(url !== undefined && { url: url.href }) });
        await shelf.put({ ...rowOf(hook), settings: JSON.stringify(settings) });
        hook.settings = settings;
        if (patch.enabled === true || url !== undefined) {
          hook.progress = forgiven(hook.progress);
        }
        if (Object.keys(patch).some(key => key !== 'description')) {
          restart(hook, 'its settings were changed');
          keeper.note(hook);
          onProgress(hook);
        }
        return view(hook);
      },
      async remove(client, id) {
        const hook = find(client, id);
        await shelf.remove([hook.id]);
        drop(hook);
      },
      async test(client, id, signal) {
        const hook = find(client, id);
        if (testing.has(id)) {
          throw new GatewayError('request/rate-limited', 'a test of this webhook is under way');
        }
        testing.add(id);
        try {
          const names = owners();
          const whose = { id, client: names.get(hook.client)?.name ?? hook.client };
          const payload = testPayload(desk.hub, whose, random.bytes(16), clock.now());
          const at = clock.now();
          const until = AbortSignal.any([stop.signal, ...(signal === undefined ? [] : [signal])]);
          const reply = await send(hook, payload, until);
          const attempt = attemptOf({ id: payload.id, type: payload.type, at }, reply);
          const over = { ...attempt, ...(attempt.state === 'queued' && { state: 'failed' as const }) };
          const attempts = [over, ...hook.progress.attempts].slice(0, limits.attempts);
          hook.progress = { ...hook.progress, attempts };
          if (over.state !== 'failed' && hook.progress.nextAt !== undefined && isOn(hook)) {
            restart(hook, 'its endpoint answers again');
          }
          return over;
        } finally {
          testing.delete(id);
        }
      },
      async replay(client, id, from) {
        const hook = find(client, id);
        if ('after' in from) {
          desk.events.read(client, from.after, 1);
        }
        const { gap: _, ...progress } = hook.progress;
        hook.progress = progress;
        hook.position = 'after' in from ? from.after : shelf.before(from.since);
        restart(hook, 'it goes on elsewhere');
        await shelf.put(rowOf(hook));
        return view(hook);
      },
      async rotate(client, id, { secret: given, grace = limits.grace }) {
        const hook = find(client, id);
        const secret = secretOf(given);
        const createdAt = clock.now();
        const until = createdAt + grace;
        const before = hook.secrets.map(one => ({ ...one, until: Math.min(one.until ?? until, until) }));
        const secrets = [{ text: secret, createdAt }, ...before.filter(one => one.until > createdAt)].slice(
          0,
          limits.secrets,
        );
        await shelf.put({ ...rowOf(hook), secrets: JSON.stringify(secrets) });
        hook.secrets = secrets;
        return { webhook: view(hook), secret };
      },
    },
    adopt(wanted, ca) {
      const before = poster;
      adopt(wanted, ca);
      before[Symbol.dispose]();
      for (const hook of hooks.values()) {
        if (isOn(hook)) {
          restart(hook, 'the configuration was read again');
        }
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

function mayTouch(client: Client, hook: Hook): boolean {
  return hook.client === client.id || client.scopes.includes('admin');
}

/** Settings with the members of a patch; null takes one away. */
function patched(settings: WebhookSettings, patch: WebhookPatch): WebhookSettings {
  const next: Member = { ...settings };
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) {
      delete next[key as keyof Member];
    } else {
      Object.assign(next, { [key]: value });
    }
  }
  return next as WebhookSettings;
}

function invalid(pointer: string, detail: string): GatewayError {
  return new GatewayError('request/invalid', `${pointer}: ${detail}`, { errors: [{ pointer, detail }] });
}
