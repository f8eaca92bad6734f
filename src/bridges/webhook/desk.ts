import { isDeepStrictEqual } from 'node:util';
import type { Client, Desk } from '../../gateway/desk.ts';
import type { WebhookShelf } from '../../gateway/webhook-shelf.ts';
import type { WebhookDesk, WebhookPatch, WebhookSettings, WebhookView } from '../../gateway/webhooks.ts';
import type { Clock } from '../../lib/clock.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { Random } from '../../lib/random.ts';
import type { WebhookLimits } from './config.ts';
import { endpointUrl, type Guard } from './guard.ts';
import { type Hook, isOn, type Keeper, newHook, restart, rowOf, viewOf } from './hook.ts';
import { type Payload, testPayload } from './payload.ts';
import type { Reply } from './post.ts';
import { attemptOf, forgiven, fresh, remember } from './progress.ts';
import { keyOf, mintSecret } from './signature.ts';

/** The webhooks at work, as what shows and changes them needs them. */
export interface HookSet {
  readonly hooks: ReadonlyMap<string, Hook>;
  readonly keeper: Keeper;
  readonly guard: () => Guard;
  /** Takes up one that is on disk. */
  begin(hook: Hook): void;
  /** Lets go of one that is on disk no more. */
  drop(hook: Hook): void;
  send(hook: Hook, payload: Payload, signal: AbortSignal): Promise<Reply>;
  onProgress(hook: Hook): void;
  /** What waits in the outbox for the webhook is worth a try. */
  onReachable(id: string): void;
  /** Aborted when the hub stops. */
  readonly stopping: AbortSignal;
}

export interface WebhookDeskParts extends HookSet {
  readonly desk: Pick<Desk, 'hub' | 'clients' | 'events'>;
  readonly shelf: WebhookShelf;
  readonly clock: Clock;
  readonly random: Random;
  readonly limits: WebhookLimits;
}

type Member = { -readonly [K in keyof WebhookSettings]?: WebhookSettings[K] };

/** The windows' way to webhooks: each client has its own, an admin all. */
export function createWebhookDesk(parts: WebhookDeskParts): WebhookDesk {
  const { hooks, keeper, desk, shelf, clock, random, limits, send } = parts;
  const testing = new Set<string>();
  /** Clients whose webhooks are being made: they count already. */
  const making: string[] = [];
  /** Theirs. */
  const ids = new Set<string>();
  const ownerOf = ({ client }: Hook) => desk.clients.find(client) ?? { name: client };

  function find(client: Client, id: string): Hook {
    const hook = hooks.get(id);
    if (hook === undefined || !mayTouch(client, hook)) {
      throw new GatewayError('request/not-found', 'no such webhook');
    }
    return hook;
  }

  function view(hook: Hook): WebhookView {
    return viewOf(hook, ownerOf(hook), shelf.behind(hook.position), clock.now());
  }

  function secretOf(given: string | undefined): string {
    if (given !== undefined && keyOf(given) === undefined) {
      throw invalid('/secret', 'whsec_ and base64 of 24 to 64 bytes');
    }
    return given ?? mintSecret(random);
  }

  return {
    async create(client, { secret: given, ...draft }, id = random.bytes(16).toHex()) {
      const url = endpointUrl(draft.url);
      const secret = secretOf(given);
      const settings = { enabled: true, acknowledge: false, ...draft, url: url.href };
      const first = hooks.get(id);
      if (first !== undefined) {
        const shown = first.secrets[0]?.text ?? '';
        const isSame = isDeepStrictEqual(first.settings, settings) && (given ?? shown) === shown;
        if (first.client !== client.id || !isSame) {
          throw new GatewayError('request/idempotency-mismatch', 'the key was used for another webhook');
        }
        return { webhook: view(first), secret: shown, repeated: true };
      }
      if (ids.has(id)) {
        throw new GatewayError('request/conflict', 'it is being made');
      }
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
      ids.add(id);
      try {
        await parts.guard().check(url);
        const createdAt = clock.now();
        const hook = newHook({
          id,
          client: client.id,
          createdAt,
          settings,
          secrets: [{ text: secret, createdAt }],
          position: desk.events.cursor,
          progress: fresh,
        });
        await shelf.add(rowOf(hook));
        if (desk.clients.find(client.id)?.revokedAt !== undefined) {
          await shelf.remove([hook.id]);
          throw new GatewayError('request/unauthenticated', 'the token has been revoked');
        }
        parts.begin(hook);
        return { webhook: view(hook), secret, repeated: false };
      } finally {
        ids.delete(id);
        making.splice(making.indexOf(client.id), 1);
      }
    },
    list: client => [...hooks.values()].filter(hook => mayTouch(client, hook)).map(view),
    get: (client, id) => view(find(client, id)),
    async change(client, id, patch) {
      const hook = find(client, id);
      const url = typeof patch.url === 'string' ? endpointUrl(patch.url) : undefined;
      if (url !== undefined) {
        await parts.guard().check(url);
      }
      await hook.changes(async () => {
        const settings = patched(hook.settings, { ...patch, ...(url !== undefined && { url: url.href }) });
        await shelf.put({ ...rowOf(hook), settings: JSON.stringify(settings) });
        hook.settings = settings;
      });
      if (patch.enabled === true || url !== undefined) {
        hook.progress = forgiven(hook.progress);
      }
      if (Object.keys(patch).some(key => key !== 'description')) {
        restart(hook, 'its settings were changed');
        keeper.note(hook);
        parts.onProgress(hook);
        parts.onReachable(hook.id);
      }
      return view(hook);
    },
    async remove(client, id) {
      const hook = find(client, id);
      await shelf.remove([hook.id]);
      parts.drop(hook);
    },
    async test(client, id, signal) {
      const hook = find(client, id);
      if (testing.has(id)) {
        throw new GatewayError('request/rate-limited', 'a test of this webhook is under way');
      }
      testing.add(id);
      try {
        const at = clock.now();
        const whose = { id, client: ownerOf(hook).name };
        const payload = testPayload(desk.hub, whose, random.bytes(16), at);
        const until = AbortSignal.any([parts.stopping, ...(signal === undefined ? [] : [signal])]);
        const reply = await send(hook, payload, until).catch(error => {
          throw until.aborted
            ? new GatewayError('bridge/unavailable', 'the test was given up', { cause: error })
            : error;
        });
        const attempt = attemptOf({ id: payload.id, type: payload.type, at }, reply);
        const over = { ...attempt, ...(attempt.state === 'queued' && { state: 'failed' as const }) };
        hook.progress = remember(hook.progress, over, limits);
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
      const position = 'after' in from ? from.after : shelf.before(from.since);
      await hook.changes(async () => {
        const { gap: _, ...progress } = hook.progress;
        await keeper.place(hook, position, progress);
        restart(hook, 'it goes on elsewhere');
        keeper.note(hook);
      });
      return view(hook);
    },
    async rotate(client, id, { secret: given, grace = limits.grace }) {
      const hook = find(client, id);
      const secret = secretOf(given);
      const createdAt = clock.now();
      const until = createdAt + grace;
      await hook.changes(async () => {
        const before = hook.secrets.map(one => ({ ...one, until: Math.min(one.until ?? until, until) }));
        const living = before.filter(one => one.until > createdAt);
        const secrets = [{ text: secret, createdAt }, ...living].slice(0, limits.secrets);
        await shelf.put({ ...rowOf(hook), secrets: JSON.stringify(secrets) });
        hook.secrets = secrets;
      });
      return { webhook: view(hook), secret };
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
